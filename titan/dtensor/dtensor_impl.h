// The tensor object behind a DTensor: global sizes, strides and offset, no storage, and the local tensor. Private to
// titan/dtensor.
//
// [Note: key set]
// {Fake, AutogradMeta, ADInplaceOrView}. Fake leads a call below autograd to the interposition layer. The autograd key
// is Meta's, not the device's, because at::isTensorSubclassLike() looks for that bit: formulas of the kind
// zeros(sizes).scatter_(...) (max, topk, sort) would otherwise return plain gradients, in silence.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/TensorImpl.h>

#include <memory>

#include "titan/dtensor/mesh_state.h"
#include "titan/dtensor/spec.h"

namespace titan::dtensor {

class DTensorImpl : public c10::TensorImpl {
 public:
  DTensorImpl(std::shared_ptr<MeshState> mesh, const Spec* spec, at::Tensor local, int64_t storage_offset = 0);

  const Spec& spec() const { return *spec_; }
  const at::Tensor& local() const { return local_; }
  const std::shared_ptr<MeshState>& mesh() const { return mesh_; }

  // After an operator that wrote it changed its sizes (resize_, t_).
  void set_spec(const Spec* spec);
  void set_local(at::Tensor local) { local_ = std::move(local); }

  // [Note: views that are none]
  // A view operator whose operand had to be redistributed, or copied because its local strides did not allow the view,
  // gives a tensor of its own memory, while autograd takes it for a view. Reading it is right; writing to it would not
  // reach its base, so that is refused.
  bool is_detached_view() const { return is_detached_view_; }
  void set_detached_view() { is_detached_view_ = true; }

  c10::intrusive_ptr<TensorImpl> shallow_copy_and_detach(const c10::VariableVersion& version_counter,
                                                         bool allow_tensor_metadata_change) const override;
  c10::intrusive_ptr<TensorImpl> shallow_copy_and_detach(c10::VariableVersion&& version_counter,
                                                         bool allow_tensor_metadata_change) const override;
  void shallow_copy_from(const c10::intrusive_ptr<TensorImpl>& impl) override;

 private:
  const char* tensorimpl_type_name() const override { return "DTensorImpl"; }

  std::shared_ptr<MeshState> mesh_;
  const Spec* spec_;
  at::Tensor local_;
  bool is_detached_view_ = false;
};

// The object if `tensor` is a DTensor, else null.
DTensorImpl* dtensor_impl(const at::Tensor& tensor);

at::Tensor make_dtensor(std::shared_ptr<MeshState> mesh, const Spec* spec, at::Tensor local,
                        int64_t storage_offset = 0);

}  // namespace titan::dtensor
