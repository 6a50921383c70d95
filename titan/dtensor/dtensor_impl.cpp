#include "titan/dtensor/dtensor_impl.h"

#include "titan/dtensor/interposition.h"

namespace titan::dtensor {
namespace {

constexpr c10::DispatchKeySet kKeys({c10::DispatchKey::Fake, c10::DispatchKey::AutogradMeta,
                                     c10::DispatchKey::ADInplaceOrView});

}  // namespace

DTensorImpl::DTensorImpl(std::shared_ptr<MeshState> mesh, const Spec* spec, at::Tensor local, int64_t storage_offset)
    : TensorImpl(kKeys, local.dtype(), local.device()), mesh_(std::move(mesh)), spec_(spec), local_(std::move(local)) {
  storage_offset_ = storage_offset;
  sizes_and_strides_.set_sizes(spec_->sizes);
  sizes_and_strides_.set_strides(spec_->strides);
  refresh_numel();
  refresh_contiguous();
  set_storage_access_should_throw();
}

void DTensorImpl::set_spec(const Spec* spec) {
  if (spec == spec_) return;
  spec_ = spec;
  sizes_and_strides_.set_sizes(spec_->sizes);
  sizes_and_strides_.set_strides(spec_->strides);
  refresh_numel();
  refresh_contiguous();
}

c10::intrusive_ptr<c10::TensorImpl> DTensorImpl::shallow_copy_and_detach(const c10::VariableVersion& version_counter,
                                                                         bool allow_tensor_metadata_change) const {
  return shallow_copy_and_detach(c10::VariableVersion(version_counter), allow_tensor_metadata_change);
}

c10::intrusive_ptr<c10::TensorImpl> DTensorImpl::shallow_copy_and_detach(c10::VariableVersion&& version_counter,
                                                                         bool allow_tensor_metadata_change) const {
  auto copy = c10::make_intrusive<DTensorImpl>(mesh_, spec_, local_, storage_offset_);
  copy->is_detached_view_ = is_detached_view_;
  copy->set_version_counter(std::move(version_counter));
  copy->set_allow_tensor_metadata_change(allow_tensor_metadata_change);
  return copy;
}

// set_data: becomes another DTensor, keeping its version.
void DTensorImpl::shallow_copy_from(const c10::intrusive_ptr<TensorImpl>& impl) {
  const auto* const other = dynamic_cast<const DTensorImpl*>(impl.get());
  TORCH_CHECK(other != nullptr, "set_data on a DTensor: expected a DTensor, got a plain tensor");
  mesh_ = other->mesh_;
  local_ = other->local_;
  storage_offset_ = other->storage_offset_;
  is_detached_view_ = other->is_detached_view_;
  data_type_ = other->data_type_;
  set_spec(other->spec_);
}

DTensorImpl* dtensor_impl(const at::Tensor& tensor) {
  if (!tensor.defined() || !tensor.key_set().has(c10::DispatchKey::Fake)) return nullptr;
  return static_cast<DTensorImpl*>(tensor.unsafeGetTensorImpl());
}

at::Tensor make_dtensor(std::shared_ptr<MeshState> mesh, const Spec* spec, at::Tensor local, int64_t storage_offset) {
  return at::detail::make_tensor<DTensorImpl>(std::move(mesh), spec, std::move(local), storage_offset);
}

}  // namespace titan::dtensor
