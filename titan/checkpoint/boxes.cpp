#include "titan/checkpoint/boxes.h"

#include <c10/util/Exception.h>

#include <algorithm>

#include "titan/dtensor/dtensor.h"

namespace titan::checkpoint {

int64_t Box::numel() const {
  int64_t product = 1;
  for (const int64_t size : sizes) product *= size;
  return product;
}

Box whole_of(at::IntArrayRef sizes) { return {.offsets = std::vector<int64_t>(sizes.size(), 0), .sizes = sizes.vec()}; }

std::optional<Box> intersection(const Box& a, const Box& b) {
  Box both = a;
  for (size_t dim = 0; dim < a.offsets.size(); ++dim) {
    const int64_t end = std::min(a.offsets[dim] + a.sizes[dim], b.offsets[dim] + b.sizes[dim]);
    both.offsets[dim] = std::max(a.offsets[dim], b.offsets[dim]);
    both.sizes[dim] = end - both.offsets[dim];
    if (both.sizes[dim] <= 0) return std::nullopt;
  }
  return both;
}

Box within(const Box& frame, const Box& box) {
  Box result = box;
  for (size_t dim = 0; dim < box.offsets.size(); ++dim) result.offsets[dim] -= frame.offsets[dim];
  return result;
}

at::Tensor view_of(at::Tensor tensor, const Box& box) {
  for (size_t dim = 0; dim < box.sizes.size(); ++dim) {
    tensor = tensor.narrow(static_cast<int64_t>(dim), box.offsets[dim], box.sizes[dim]);
  }
  return tensor;
}

std::vector<Box> split(const Box& box, int64_t max_elements) {
  if (box.numel() <= max_elements) return {box};
  const size_t dim =
      std::find_if(box.sizes.begin(), box.sizes.end(), [](int64_t size) { return size > 1; }) - box.sizes.begin();
  const int64_t step = std::max<int64_t>(1, max_elements / (box.numel() / box.sizes[dim]));
  std::vector<Box> parts;
  for (int64_t at = 0; at < box.sizes[dim]; at += step) {
    Box part = box;
    part.offsets[dim] += at;
    part.sizes[dim] = std::min(step, box.sizes[dim] - at);
    for (Box& piece : split(part, max_elements)) parts.push_back(std::move(piece));  // one index may be too large still
  }
  return parts;
}

const at::Tensor& local_part(const at::Tensor& tensor) {
  return dtensor::is_dtensor(tensor) ? dtensor::local_of(tensor) : tensor;
}

std::vector<HeldBox> held_boxes(const at::Tensor& tensor) {
  if (!dtensor::is_dtensor(tensor)) return {{whole_of(tensor.sizes()), tensor.detach()}};
  const dtensor::Spec& spec = dtensor::spec_of(tensor);
  TORCH_INTERNAL_ASSERT(!spec.has_partial, "a Partial tensor has no boxes: ", dtensor::to_string(spec));

  // One box for each choice of a segment in every dimension.
  std::vector<HeldBox> held{{whole_of({}), dtensor::local_of(tensor).detach()}};
  for (int64_t dim = 0; dim < spec.dim(); ++dim) {
    std::vector<HeldBox> next;
    for (const HeldBox& so_far : held) {
      int64_t position = 0;
      for (const dtensor::Segment& segment : spec.segments(dim)) {
        HeldBox& box = next.emplace_back(so_far);
        box.global.offsets.push_back(segment.offset);
        box.global.sizes.push_back(segment.size);
        box.local = box.local.narrow(dim, position, segment.size);
        position += segment.size;
      }
    }
    held = std::move(next);
  }
  return held;
}

}  // namespace titan::checkpoint
