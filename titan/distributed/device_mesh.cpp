#include "titan/distributed/device_mesh.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>

namespace titan::distributed {

int64_t DeviceMesh::Line::size() const {
  int64_t size = 1;
  for (const Extent& extent : extents) size *= extent.size;
  return size;
}

DeviceMesh::DeviceMesh(std::shared_ptr<World> world, std::vector<Axis> axes) : world_(std::move(world)) {
  int64_t product = 1;
  std::string text;
  for (Axis& axis : axes) {
    TORCH_CHECK_VALUE(axis.size >= 1, "DeviceMesh: expected a size of at least 1, got ", axis.size, " for ", axis.name);
    TORCH_CHECK_VALUE(!has(axis.name), "DeviceMesh: expected different names, got ", axis.name, " twice");
    axes_.push_back({axis.name, {{axis.size, 0}}, {axis.name}});
    text += fmt::format("{}{} {}", text.empty() ? "" : " x ", axes_.back().name, axis.size);
    product *= axis.size;
  }
  TORCH_CHECK_VALUE(product == world_->size(), "DeviceMesh: expected axes that multiply to the world size (",
                    world_->size(), "), got ", text, " = ", product);
  int64_t stride = 1;
  for (auto axis = axes_.rbegin(); axis != axes_.rend(); ++axis) {
    axis->extents.front().stride = stride;
    stride *= axis->size();
  }
  for (const Line& axis : axes_) {
    if (axis.size() > 1) world_->name_group(ranks(axis.name), axis.name);
  }
}

std::vector<Axis> DeviceMesh::axes() const {
  std::vector<Axis> axes;
  for (const Line& axis : axes_) axes.push_back({axis.name, axis.size()});
  return axes;
}

bool DeviceMesh::has(std::string_view axis) const {
  const auto is_it = [axis](const Line& line) { return line.name == axis; };
  return std::any_of(axes_.begin(), axes_.end(), is_it) || std::any_of(views_.begin(), views_.end(), is_it);
}

const DeviceMesh::Line& DeviceMesh::line(std::string_view axis) const {
  std::string known;
  for (const auto* const lines : {&axes_, &views_}) {
    for (const Line& line : *lines) {
      if (line.name == axis) return line;
      known += (known.empty() ? "" : ", ") + line.name;
    }
  }
  TORCH_CHECK_VALUE(false, "DeviceMesh: expected an axis (", known, "), got '", axis, "'");
}

std::vector<DeviceMesh::Line> DeviceMesh::lines_in_order(std::initializer_list<std::string_view> names) const {
  std::vector<Line> lines;
  std::vector<std::string> parts;
  for (const std::string_view name : names) {
    lines.push_back(line(name));
    parts.insert(parts.end(), lines.back().parts.begin(), lines.back().parts.end());
  }
  std::string order;
  auto next = parts.begin();
  for (const Line& axis : axes_) {
    order += (order.empty() ? "" : ", ") + axis.name;
    if (next != parts.end() && axis.name == *next) ++next;
  }
  TORCH_CHECK_VALUE(next == parts.end() && !lines.empty(), "DeviceMesh: expected axes in the mesh's order (", order,
                    "), got ", next == parts.end() ? "none" : fmt::format("'{}' out of it", *next));
  return lines;
}

DeviceMesh DeviceMesh::with_view(std::string name, std::initializer_list<std::string_view> axes) const {
  TORCH_CHECK_VALUE(!has(name), "DeviceMesh: expected a new name for a view, got ", name);
  Line view{std::move(name), {}, {}};
  for (const Line& axis : lines_in_order(axes)) {
    view.extents.insert(view.extents.end(), axis.extents.begin(), axis.extents.end());
    view.parts.insert(view.parts.end(), axis.parts.begin(), axis.parts.end());
  }
  DeviceMesh mesh = *this;
  mesh.views_.push_back(std::move(view));
  const std::string& view_name = mesh.views_.back().name;
  // Of all ranks it is the world.
  if (mesh.size(view_name) > 1 && mesh.size(view_name) < world_->size()) {
    world_->name_group(mesh.ranks(view_name), view_name);
  }
  return mesh;
}

DeviceMesh DeviceMesh::slice(std::string_view axis) const {
  DeviceMesh mesh;
  mesh.world_ = world_;
  mesh.axes_ = {line(axis)};
  return mesh;
}

DeviceMesh DeviceMesh::slice(std::initializer_list<std::string_view> axes) const {
  DeviceMesh mesh;
  mesh.world_ = world_;
  mesh.axes_ = lines_in_order(axes);
  return mesh;
}

int64_t DeviceMesh::size() const {
  int64_t size = 1;
  for (const Line& axis : axes_) size *= axis.size();
  return size;
}

int64_t DeviceMesh::size(std::string_view axis) const { return line(axis).size(); }

int64_t DeviceMesh::coordinate(std::string_view axis) const {
  int64_t position = 0;
  for (const Extent& extent : line(axis).extents) {
    position = position * extent.size + world_->rank() / extent.stride % extent.size;
  }
  return position;
}

std::vector<int64_t> DeviceMesh::ranks_along(const std::vector<Line>& lines) const {
  int64_t origin = world_->rank();
  for (const Line& line : lines) {
    for (const Extent& extent : line.extents) origin -= world_->rank() / extent.stride % extent.size * extent.stride;
  }
  std::vector<int64_t> ranks{origin};
  for (const Line& line : lines) {
    for (const Extent& extent : line.extents) {
      std::vector<int64_t> further;
      for (const int64_t rank : ranks) {
        for (int64_t i = 0; i < extent.size; ++i) further.push_back(rank + i * extent.stride);
      }
      ranks = std::move(further);
    }
  }
  return ranks;
}

std::vector<int64_t> DeviceMesh::ranks(std::string_view axis) const { return ranks_along({line(axis)}); }

std::vector<int64_t> DeviceMesh::ranks() const { return ranks_along(axes_); }

std::shared_ptr<ProcessGroup> DeviceMesh::group(std::string_view axis) const { return world_->group(ranks(axis)); }

std::shared_ptr<ProcessGroup> DeviceMesh::group() const { return world_->group(ranks()); }

}  // namespace titan::distributed
