#include "tests/distributed/dtensor/meshes.h"

#include "tests/distributed/dtensor/counted_backend.h"
#include "tests/support/run_ranks.h"
#include "tests/support/runs_all.h"

namespace titan::test {

void on_mesh(const std::vector<int64_t>& sizes, const std::function<void(const dtensor::Mesh&)>& body) {
  std::vector<distributed::Axis> axes;
  int64_t num_ranks = 1;
  for (const int64_t size : sizes) {
    axes.push_back({std::string(1, static_cast<char>('a' + axes.size())), size});
    num_ranks *= size;
  }
  // All placements of three operands take many minutes.
  const auto limit = test::runs_all() ? std::chrono::minutes(50) : std::chrono::minutes(2);
  run_ranks(num_ranks, "shm",
            [&](const std::shared_ptr<distributed::World>& world) { body(distributed::DeviceMesh(world, axes)); },
            {.limit = limit, .make_backend = counted(distributed::backend_factory("shm"))});
}

void on_meshes(const std::function<void(const dtensor::Mesh&)>& body) {
  for (const std::vector<int64_t>& sizes : std::vector<std::vector<int64_t>>{{2}, {3}, {2, 2}}) on_mesh(sizes, body);
}

}  // namespace titan::test
