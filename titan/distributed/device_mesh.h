// Which ranks share which axis. A DeviceMesh names the axes of the job (pp, dp_replicate, dp_shard, cp, tp) and hands
// out the process group of each; it moves no data and knows no tensor.
// Layout as in PyTorch's DeviceMesh: ranks are laid out row-major, the last axis varies fastest.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "titan/distributed/world.h"

namespace titan::distributed {

struct Axis {
  std::string name;
  int64_t size = 1;
};

// A value, cheap to copy. A name that is no axis and no view throws c10::ValueError, which lists those there are.
class DeviceMesh {
 public:
  // Every rank of `world` makes it with equal arguments; nothing is sent.
  // Throws c10::ValueError if the product of the sizes is not the world size; the message names both.
  DeviceMesh(std::shared_ptr<World> world, std::vector<Axis> axes);

  // The axes, outermost first, without views.
  std::vector<Axis> axes() const;
  bool has(std::string_view axis) const;

  // The same mesh that knows `name` besides: `axes` as one, the last varying fastest. They must be given in the
  // mesh's order. The axes stay.
  DeviceMesh with_view(std::string name, std::initializer_list<std::string_view> axes) const;

  // The sub-mesh over one axis or view, or over several in the mesh's order: the ranks that share all of this rank's
  // other coordinates. A view becomes an axis. An axis of size 1 is legal everywhere: its collectives are no-ops. Views
  // are not kept.
  DeviceMesh slice(std::string_view axis) const;
  DeviceMesh slice(std::initializer_list<std::string_view> axes) const;

  // Number of ranks, of the mesh and on an axis.
  int64_t size() const;
  int64_t size(std::string_view axis) const;

  // This rank's position on `axis`, in [0, size(axis)).
  int64_t coordinate(std::string_view axis) const;

  // The ranks that differ from this one on `axis` only, by position; `ranks()`: all of the mesh.
  std::vector<int64_t> ranks(std::string_view axis) const;
  std::vector<int64_t> ranks() const;

  // Their process group; its rank() is coordinate(axis). Collective over them at the first call, see World::group.
  std::shared_ptr<ProcessGroup> group(std::string_view axis) const;
  // Of all ranks of the mesh.
  std::shared_ptr<ProcessGroup> group() const;

  const std::shared_ptr<World>& world() const { return world_; }

 private:
  // One axis, or several that a view takes as one: rank = origin + sum of position x stride.
  struct Extent {
    int64_t size, stride;
  };
  struct Line {
    std::string name;
    std::vector<Extent> extents;     // outermost first
    std::vector<std::string> parts;  // the axes that it is made of, by name
    int64_t size() const;
  };
  DeviceMesh() = default;
  const Line& line(std::string_view axis) const;
  std::vector<Line> lines_in_order(std::initializer_list<std::string_view> names) const;
  std::vector<int64_t> ranks_along(const std::vector<Line>& lines) const;

  std::shared_ptr<World> world_;
  std::vector<Line> axes_, views_;
};

}  // namespace titan::distributed
