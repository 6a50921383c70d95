// Checkpoints that several ranks write together and load again in any layout: sizes that do not divide, shards that are
// empty, replicas, pieces of a StridedShard, ranks that hold different names.
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/support/run_ranks.h"
#include "tests/support/tensors.h"
#include "tests/unit/checkpoint/expect_refused.h"
#include "tests/unit/checkpoint/temp_folder.h"
#include "titan/checkpoint/checkpointer.h"
#include "titan/checkpoint/dcp_reader.h"
#include "titan/checkpoint/manifest.h"
#include "titan/distributed/device_mesh.h"
#include "titan/dtensor/dtensor.h"

namespace titan::checkpoint {
namespace {

using distributed::DeviceMesh;
using dtensor::Placements;
using dtensor::replicate;
using dtensor::shard;
using dtensor::strided_shard;
using World = std::shared_ptr<distributed::World>;

// What a run holds: global tensors, by name.
std::map<std::string, at::Tensor> whole_tensors() {
  return {{"rows", test::random({7, 5}, 1)},     {"one_row", test::random({1, 6}, 2)},
          {"cube", test::random({3, 10, 4}, 3)}, {"vector", test::random({9}, 4).to(at::kBFloat16)},
          {"scalar", at::full({}, 3.5)},         {"flags", test::random({5, 3}, 5).gt(0)}};
}

struct Layout {
  std::vector<distributed::Axis> axes;
  Placements placements;  // of tensors with dimensions; a tensor of one dimension has those of dim 1 replicated
  int64_t num_ranks() const {
    int64_t product = 1;
    for (const auto& axis : axes) product *= axis.size;
    return product;
  }
};

std::vector<Layout> layouts() {
  return {{{{"dp_shard", 1}}, {replicate()}},
          {{{"dp_shard", 2}}, {shard(0)}},
          {{{"tp", 3}}, {shard(1)}},
          {{{"dp_replicate", 3}}, {replicate()}},
          {{{"dp_replicate", 2}, {"dp_shard", 2}}, {replicate(), shard(0)}},
          // FSDP over tensor parallelism, of the same dimension: a rank's shard is one box
          {{{"dp_shard", 2}, {"tp", 2}}, {strided_shard(0, 2), shard(0)}},
          {{{"dp_shard", 2}, {"tp", 2}}, {shard(0), shard(1)}},
          // a shard of several boxes
          {{{"dp_shard", 2}}, {strided_shard(0, 3)}},
          {{{"dp_shard", 8}}, {shard(0)}}};  // empty shards
}

Placements fitted(const Placements& placements, int64_t dim) {
  Placements result;
  for (const auto& placement : placements) {
    result.push_back(placement.is_shard() && placement.dim >= dim ? replicate() : placement);
  }
  return result;
}

TrainState placed_state(const World& world, const Layout& layout, bool empty) {
  const dtensor::Mesh mesh(DeviceMesh(world, layout.axes));
  TrainState state;
  for (const auto& [name, tensor] : whole_tensors()) {
    const at::Tensor from = empty ? at::zeros_like(tensor) : tensor;
    // The last two stay plain, as norms do without FSDP.
    const bool is_plain = name == "scalar" || name == "one_row";
    const at::Tensor placed =
        is_plain ? from.clone()
                 : dtensor::distribute_tensor(from, mesh, fitted(layout.placements, from.dim()), {.broadcast = false});
    state.model[name] = placed;
    state.optimizer["state." + name + ".exp_avg"] = placed.clone();
  }
  state.counters = {{"train_state.step", empty ? 0 : 5}, {"lr_scheduler.last_epoch", empty ? 0 : 5}};
  state.for_others = {{"lr_scheduler.base_lrs", FloatList{{0.5}}}};
  return state;
}

config::Checkpoint settings() {
  config::Checkpoint settings;
  settings.enable = true;
  return settings;
}

void save(const World& world, const std::filesystem::path& dump, const Layout& layout, const char* async_mode) {
  config::Checkpoint with_mode = settings();
  with_mode.async_mode = async_mode;
  Checkpointer checkpointer(with_mode, dump, "", std::nullopt, world);
  TrainState state = placed_state(world, layout, /*empty=*/false);
  checkpointer.save(5, state, /*last_step=*/false);
  checkpointer.wait_until_copied();
  for (auto& [name, tensor] : state.model) at::Tensor(local_part(tensor)).zero_();  // as training would go on
  checkpointer.wait_for_save();
}

void expect_whole(const at::Tensor& tensor, const at::Tensor& expected, const std::string& what) {
  const at::Tensor whole = dtensor::is_dtensor(tensor) ? dtensor::full_tensor(tensor) : tensor;
  EXPECT_TRUE(at::equal(whole, expected)) << what;
}

void load_and_compare(const World& world, const std::filesystem::path& dump, const Layout& layout) {
  TrainState state = placed_state(world, layout, /*empty=*/true);
  const auto source = Checkpointer(settings(), dump, "", std::nullopt, world).load_newest(state);
  ASSERT_TRUE(source && source->step == 5);
  for (const auto& [name, expected] : whole_tensors()) {
    expect_whole(state.model.at(name), expected, name);
    expect_whole(state.optimizer.at("state." + name + ".exp_avg"), expected, name);
  }
  EXPECT_EQ(state.counters.at("train_state.step"), 5);
}

TEST(ShardedCheckpoint, AnyLayoutLoadsWhatAnyOtherWrote) {
  for (const Layout& from : layouts()) {
    const TempFolder dump;
    test::run_ranks(from.num_ranks(), "shm", [&](const World& world) {
      save(world, dump.path(), from, from.num_ranks() == 2 ? "async" : "disabled");
    });
    for (const Layout& to : layouts()) {
      test::run_ranks(to.num_ranks(), "shm", [&](const World& world) { load_and_compare(world, dump.path(), to); });
    }
  }
}

// Each box once, by a rank that has it, and all ranks with about as much to do.
TEST(ShardedCheckpoint, ReplicasShareTheWriting) {
  const TempFolder dump;
  const Layout layout{{{"dp_replicate", 4}}, {replicate()}};
  test::run_ranks(4, "shm", [&](const World& world) {
    Checkpointer checkpointer(settings(), dump.path(), "", std::nullopt, world);
    TrainState state;
    for (int i = 0; i < 8; ++i) state.model["w" + std::to_string(i)] = at::full({1000, 10}, static_cast<double>(i));
    checkpointer.save(1, state, /*last_step=*/false);
    checkpointer.save(2, state, /*last_step=*/false);  // by the same plan
  });
  const DcpReader reader(dump.path() / "checkpoint" / "step-2");
  uint64_t largest = 0;
  for (const auto& [name, tensor] : reader.metadata().tensors) EXPECT_EQ(tensor.chunks.size(), 1u) << name;
  for (const auto& file : reader.manifest()->files) largest = std::max(largest, file.num_bytes);
  EXPECT_EQ(reader.manifest()->files.size(), 5u);  // one of each rank, and .metadata
  EXPECT_LT(largest, 8u * 40000 / 4 + 8000);
}

// Pipeline stages: each rank has names of its own; another split of the stages loads them.
TEST(ShardedCheckpoint, RanksMayHoldDifferentNames) {
  const TempFolder dump;
  const auto part = [](int64_t rank, bool empty) {
    TrainState state;
    for (int64_t layer = rank * 2; layer < rank * 2 + 2; ++layer) {
      state.model["layers." + std::to_string(layer)] = at::full({3, 2}, empty ? 0 : layer);
    }
    state.counters = {{"train_state.step", empty ? 0 : 3}, {"lr_scheduler.last_epoch", 3}};
    return state;
  };
  test::run_ranks(3, "shm", [&](const World& world) {
    Checkpointer(settings(), dump.path(), "", std::nullopt, world).save(3, part(world->rank(), false), false);
  });
  test::run_ranks(3, "shm", [&](const World& world) {
    TrainState state = part(2 - world->rank(), true);
    Checkpointer(settings(), dump.path(), "", std::nullopt, world).load_newest(state);
    for (const auto& [name, tensor] : state.model) {
      EXPECT_TRUE(at::equal(tensor, at::full({3, 2}, std::stoi(name.substr(7))))) << name;
    }
    state.model.erase(state.model.begin());  // now nobody has layers 0, 2 and 4
    const auto source = LoadSource{.path = dump.path() / "checkpoint" / "step-3", .step = 3};
    expect_refused([&] { Checkpointer(settings(), dump.path(), "", std::nullopt, world).load(source, state); },
                   "unexpected (3): layers.0, layers.2, layers.4");
  });
}

// What is wrong for one rank is wrong for all, in the same words.
TEST(ShardedCheckpoint, DamageIsTheSameErrorOnEveryRank) {
  const TempFolder dump;
  const Layout layout{{{"dp_shard", 2}}, {shard(0)}};
  test::run_ranks(2, "shm", [&](const World& world) { save(world, dump.path(), layout, "disabled"); });
  const auto file = dump.path() / "checkpoint" / "step-5" / "__1_0.distcp";
  std::string bytes = read_bytes(file);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 4);
  write_bytes(file, bytes);
  test::run_ranks(2, "shm", [&](const World& world) {
    TrainState state = placed_state(world, layout, /*empty=*/true);
    expect_refused([&] { Checkpointer(settings(), dump.path(), "", std::nullopt, world).load_newest(state); },
                   "step-5/__1_0.distcp: is damaged: bytes 0 to ");
  });
}

// A rank that cannot write: every rank hears why, and the checkpoint before stays.
TEST(ShardedCheckpoint, AFailedWriteIsTheSameErrorOnEveryRank) {
  const TempFolder dump;
  const Layout layout{{{"dp_shard", 2}}, {shard(0)}};
  test::run_ranks(2, "shm", [&](const World& world) { save(world, dump.path(), layout, "disabled"); });
  test::run_ranks(2, "shm", [&](const World& world) {
    Checkpointer checkpointer(settings(), dump.path(), "", std::nullopt, world);
    TrainState state = placed_state(world, layout, /*empty=*/false);
    if (world->rank() == 1) state.model["bad"] = at::zeros({2}, at::kComplexHalf);  // no dtype of the format
    try {
      checkpointer.save(6, state, /*last_step=*/false);
      ADD_FAILURE() << "saved";
    } catch (const c10::Error& error) {
      EXPECT_NE(std::string(error.what()).find("cannot hold dtype"), std::string::npos) << error.what();
    }
  });
  EXPECT_EQ(CheckpointFolder(dump.path() / "checkpoint").steps(), std::vector<int64_t>{5});
  EXPECT_FALSE(std::filesystem::exists(dump.path() / "checkpoint" / ".saving-6"));
}

// A rank of four that wants a quarter of the rows reads a quarter of the file, to a block; one that wants a quarter of
// long rows does, too.
TEST(ShardedCheckpoint, ReadsOnlyWhatItNeeds) {
  const TempFolder dump;
  constexpr int64_t kRows = 4096, kColumns = 4096;  // 64 MiB: 64 blocks
  const at::Tensor whole = test::random({kRows, kColumns}, 7);
  TrainState state;
  state.model["w"] = whole;
  Checkpointer(settings(), dump.path(), "", std::nullopt).save(1, state, /*last_step=*/false);
  const auto path = dump.path() / "checkpoint" / "step-1";
  const auto file_bytes = std::filesystem::file_size(path / "__0_0.distcp");
  {
    const DcpReader reader(path);
    const at::Tensor to = at::empty({kRows / 4, kColumns});
    reader.read_into("w", {.offsets = {kRows / 4, 0}, .sizes = {kRows / 4, kColumns}}, to);
    EXPECT_TRUE(at::equal(to, whole.narrow(0, kRows / 4, kRows / 4)));
    EXPECT_LT(reader.num_bytes_read(), file_bytes / 4 + 4 * kChecksumBlock);
  }
  {
    const DcpReader reader(path);
    const at::Tensor to = at::empty({3, 5}, at::kDouble);  // of another dtype
    reader.read_into("w", {.offsets = {100, 7}, .sizes = {3, 5}}, to);
    EXPECT_TRUE(at::equal(to, whole.narrow(0, 100, 3).narrow(1, 7, 5).to(at::kDouble)));
    EXPECT_LT(reader.num_bytes_read(), 3 * kChecksumBlock);
  }
}

}  // namespace
}  // namespace titan::checkpoint
