#include "titan/dtensor/mesh.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>
#include <mutex>

#include "titan/dtensor/mesh_state.h"

namespace titan::dtensor {
namespace {

bool is_of(const MeshState& state, const distributed::DeviceMesh& mesh, const std::vector<distributed::Axis>& axes) {
  if (state.device_mesh.world() != mesh.world() || state.names.size() != axes.size()) return false;
  for (size_t axis = 0; axis < axes.size(); ++axis) {
    if (state.names[axis] != axes[axis].name || state.sizes[axis] != axes[axis].size) return false;
  }
  return state.device_mesh.ranks() == mesh.ranks();
}

// Global, since equal meshes made in different places must be one: their DTensors meet. It owns none of them.
std::shared_ptr<MeshState> state_of(const distributed::DeviceMesh& mesh) {
  static std::mutex mutex;
  static std::vector<std::weak_ptr<MeshState>> known;
  const std::vector<distributed::Axis> axes = mesh.axes();
  {
    const std::scoped_lock lock(mutex);
    std::erase_if(known, [](const auto& state) { return state.expired(); });
    for (const auto& weak : known) {
      std::shared_ptr<MeshState> state = weak.lock();
      if (state != nullptr && is_of(*state, mesh, axes)) return state;
    }
  }
  // Without the lock: making groups waits for the other ranks, which may be threads of this process.
  auto state = std::make_shared<MeshState>(mesh);
  const std::scoped_lock lock(mutex);
  known.push_back(state);
  return state;
}

}  // namespace

MeshState::MeshState(const distributed::DeviceMesh& mesh) : device_mesh(mesh) {
  for (const distributed::Axis& axis : mesh.axes()) {
    names.push_back(axis.name);
    sizes.push_back(axis.size);
    coordinates.push_back(mesh.coordinate(axis.name));
    groups.push_back(mesh.group(axis.name));
  }
  whole_group = mesh.group();
}

Mesh::Mesh(const distributed::DeviceMesh& mesh) : state_(state_of(mesh)) {}

int64_t Mesh::num_axes() const { return static_cast<int64_t>(state_->sizes.size()); }
int64_t Mesh::size() const { return c10::multiply_integers(state_->sizes); }
int64_t Mesh::size(int64_t axis) const { return state_->sizes.at(axis); }
int64_t Mesh::coordinate(int64_t axis) const { return state_->coordinates.at(axis); }
const std::string& Mesh::axis_name(int64_t axis) const { return state_->names.at(axis); }

int64_t Mesh::axis(std::string_view name) const {
  const auto found = std::find(state_->names.begin(), state_->names.end(), name);
  TORCH_CHECK_VALUE(found != state_->names.end(), "Mesh: expected an axis of ", this->name(), ", got '", name, "'");
  return found - state_->names.begin();
}

distributed::ProcessGroup& Mesh::group(int64_t axis) const { return *state_->groups.at(axis); }
distributed::ProcessGroup& Mesh::group() const { return *state_->whole_group; }
const distributed::DeviceMesh& Mesh::device_mesh() const { return state_->device_mesh; }

std::string Mesh::name() const {
  std::string text;
  for (size_t axis = 0; axis < state_->names.size(); ++axis) {
    text += fmt::format("{}{} {}", axis == 0 ? "" : ", ", state_->names[axis], state_->sizes[axis]);
  }
  return "(" + text + ")";
}

void manual_seed(const Mesh& mesh, uint64_t seed) { set_random_state(mesh, {.seed = seed, .num_calls = 0}); }

RandomState random_state(const Mesh& mesh) {
  const std::scoped_lock lock(mesh.state()->mutex);
  return mesh.state()->random;
}

void set_random_state(const Mesh& mesh, RandomState state) {
  const std::scoped_lock lock(mesh.state()->mutex);
  mesh.state()->random = state;
}

}  // namespace titan::dtensor
