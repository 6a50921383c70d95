#include "titan/dtensor/layout.h"

#include <algorithm>

namespace titan::dtensor {
namespace {

// Positions [begin, end) of the row of indices.
Segments cut(const Segments& segments, int64_t begin, int64_t end) {
  Segments result;
  int64_t position = 0;
  for (const Segment& segment : segments) {
    const int64_t first = std::max(begin, position), last = std::min(end, position + segment.size);
    if (first < last) result.push_back({segment.offset + first - position, last - first});
    position += segment.size;
  }
  return result;
}

// Neighbours that touch become one, so that equal sets of indices are equal lists.
void append(Segments& to, const Segments& from) {
  for (const Segment& segment : from) {
    if (!to.empty() && to.back().offset + to.back().size == segment.offset) {
      to.back().size += segment.size;
    } else {
      to.push_back(segment);
    }
  }
}

}  // namespace

int64_t total_size(const Segments& segments) {
  int64_t total = 0;
  for (const Segment& segment : segments) total += segment.size;
  return total;
}

Segments chunk(const Segments& segments, int64_t num, int64_t index) {
  const int64_t total = total_size(segments);
  const int64_t size = (total + num - 1) / num;
  return cut(segments, std::min(index * size, total), std::min((index + 1) * size, total));
}

Segments positions(const Segments& segments, const Segments& wanted) {
  Segments result;
  for (const Segment& part : wanted) {
    int64_t position = 0;
    for (const Segment& segment : segments) {
      const int64_t first = std::max(part.offset, segment.offset);
      const int64_t last = std::min(part.offset + part.size, segment.offset + segment.size);
      if (first < last) append(result, {{position + first - segment.offset, last - first}});
      position += segment.size;
    }
  }
  return result;
}

std::vector<ShardingStep> sharding_order(const Placements& placements, at::IntArrayRef mesh_sizes, int64_t dim) {
  // From the right, so that what a StridedShard has to wait for is in `order` already.
  std::vector<ShardingStep> order;
  for (int64_t axis = static_cast<int64_t>(placements.size()) - 1; axis >= 0; --axis) {
    const Placement& placement = placements[axis];
    if (!placement.is_shard(dim)) continue;
    int64_t product = 1;
    size_t num_before = 0;
    while (product < placement.split_factor && num_before < order.size()) {
      product *= mesh_sizes[order[num_before++].axis];
    }
    const bool waits = product == placement.split_factor;
    const ShardingStep step{axis, waits ? 1 : placement.split_factor};
    order.insert(order.begin() + static_cast<int64_t>(waits ? num_before : 0), step);
  }
  return order;
}

Segments local_segments(const Placements& placements, at::IntArrayRef mesh_sizes, at::IntArrayRef coordinates,
                        int64_t dim, int64_t size) {
  Segments segments;
  if (size > 0) segments.push_back({0, size});
  for (const ShardingStep& step : sharding_order(placements, mesh_sizes, dim)) {
    Segments mine;
    for (int64_t part = 0; part < step.num_parts; ++part) {
      append(mine, chunk(chunk(segments, step.num_parts, part), mesh_sizes[step.axis], coordinates[step.axis]));
    }
    segments = std::move(mine);
  }
  return segments;
}

}  // namespace titan::dtensor
