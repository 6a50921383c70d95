#include "titan/device/transfer.h"

#include <ATen/ops/empty_like.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>

namespace titan::device {

at::Tensor upload(const at::Tensor& x, at::Device device) {
  return device.is_cpu() ? x : x.pin_memory().to(device, /*non_blocking=*/true);
}

Readback::Readback(const at::Tensor& values) {
  TORCH_INTERNAL_ASSERT(values.dim() == 1 && values.scalar_type() == at::kDouble);
  if (values.is_cpu()) {
    on_host_ = values;
    return;
  }
  on_host_ = at::empty_like(values, values.options().device(at::kCPU).pinned_memory(true));
  on_host_.copy_(values, /*non_blocking=*/true);
  arrived_.emplace(values.device().type());
  arrived_->record(c10::impl::VirtualGuardImpl(values.device().type()).getStream(values.device()));
}

std::vector<double> Readback::wait() {
  if (arrived_.has_value()) arrived_->synchronize();
  const double* const data = on_host_.const_data_ptr<double>();
  return {data, data + on_host_.numel()};
}

}  // namespace titan::device
