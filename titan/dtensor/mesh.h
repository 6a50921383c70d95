// A DeviceMesh made ready for DTensors: its process groups, this rank's coordinates, and what is kept per mesh so that
// an operator costs little: the interned specs, the cached plans, the state of random numbers. The first two are
// private to titan/dtensor.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "titan/distributed/device_mesh.h"

namespace titan::dtensor {

class MeshState;

// A cheap value. Two of the same ranks in the same axes of one World are equal, wherever they were made.
class Mesh {
 public:
  // Collective over the mesh: makes the groups of all axes.
  Mesh(const distributed::DeviceMesh& mesh);  // NOLINT(google-explicit-constructor): a DeviceMesh will do anywhere
  explicit Mesh(std::shared_ptr<MeshState> state) : state_(std::move(state)) {}

  int64_t num_axes() const;
  int64_t size() const;  // number of ranks
  int64_t size(int64_t axis) const;
  int64_t coordinate(int64_t axis) const;
  const std::string& axis_name(int64_t axis) const;
  // The index of the axis called `name`. Throws c10::ValueError, which lists those there are.
  int64_t axis(std::string_view name) const;
  distributed::ProcessGroup& group(int64_t axis) const;
  // Of all ranks of the mesh.
  distributed::ProcessGroup& group() const;
  const distributed::DeviceMesh& device_mesh() const;

  // "(dp_shard 2, tp 4)".
  std::string name() const;

  bool operator==(const Mesh& other) const { return state_ == other.state_; }

  const std::shared_ptr<MeshState>& state() const { return state_; }

 private:
  std::shared_ptr<MeshState> state_;
};

// [Note: random numbers]
// A random operator on a DTensor draws each element from (seed, number of the call, the element's index in the global
// tensor) by Philox, so every layout gives the same numbers. Seed and count belong to the mesh; all its ranks run the
// same operators in the same order, so the counts agree.
void manual_seed(const Mesh& mesh, uint64_t seed);

// What a checkpoint keeps.
struct RandomState {
  uint64_t seed = 0, num_calls = 0;
};
RandomState random_state(const Mesh& mesh);
void set_random_state(const Mesh& mesh, RandomState state);

}  // namespace titan::dtensor
