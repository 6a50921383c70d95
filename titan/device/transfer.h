// Data on their way between the host and a device, without the host waiting for it: batches up, results down.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>

#include <optional>
#include <vector>

namespace titan::device {

// A copy of `x` on `device`, enqueued on the current stream by way of page-locked memory; on the CPU `x` itself. Does
// not block.
at::Tensor upload(const at::Tensor& x, at::Device device);

// Numbers that come back: the copy is enqueued on the current stream behind what computes them, and the host waits only
// when it reads.
class Readback {
 public:
  // values: 1-D float64, on any device. Does not block.
  explicit Readback(const at::Tensor& values);

  // Blocks until they are there.
  std::vector<double> wait();

 private:
  at::Tensor on_host_;
  std::optional<c10::Event> arrived_;  // nothing on the CPU
};

}  // namespace titan::device
