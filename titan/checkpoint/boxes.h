// Boxes of a tensor's index space: what part of a global tensor a rank holds, stores or wants. It moves no data.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace titan::checkpoint {

// The indices [offsets[d], offsets[d] + sizes[d]) of every dimension d. A scalar has the one box without dimensions.
struct Box {
  std::vector<int64_t> offsets, sizes;

  bool operator==(const Box&) const = default;
  int64_t numel() const;
};

Box whole_of(at::IntArrayRef sizes);

// Nothing if they share no element.
std::optional<Box> intersection(const Box& a, const Box& b);

// `box`, which lies in `frame`, with offsets counted from the frame's.
Box within(const Box& frame, const Box& box);

// The view of `tensor` that `box` names.
at::Tensor view_of(at::Tensor tensor, const Box& box);

// Cuts `box` along its first dimensions into boxes of at most `max_elements`, in the order of their offsets.
std::vector<Box> split(const Box& box, int64_t max_elements);

// Part of what this rank holds of a tensor.
struct HeldBox {
  Box global;        // of the whole tensor
  at::Tensor local;  // a view of what the rank holds, without gradients; writing to it changes the tensor
};

// Everything this rank holds of `tensor`: of a plain one the whole; of a DTensor its shard, which is several boxes
// where a StridedShard gave it pieces, and none where it is empty. Not for DTensors with a Partial placement.
std::vector<HeldBox> held_boxes(const at::Tensor& tensor);

// The memory behind a tensor, whatever part of it this rank has.
const at::Tensor& local_part(const at::Tensor& tensor);

}  // namespace titan::checkpoint
