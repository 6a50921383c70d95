// What is written is what is read: every dtype, every shape, as torch.save would have put it.
#include "titan/checkpoint/shard_writer.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/csrc/jit/serialization/pickle.h>

#include <limits>

#include "tests/unit/checkpoint/expect_refused.h"
#include "tests/unit/checkpoint/fast_errors.h"
#include "tests/unit/checkpoint/temp_folder.h"
#include "titan/checkpoint/checkpointer.h"
#include "titan/checkpoint/dcp_reader.h"
#include "titan/checkpoint/durable_file.h"
#include "titan/checkpoint/save_plan.h"

namespace titan::checkpoint {
namespace {

std::map<std::string, at::Tensor> tensors_of_every_kind() {
  const auto values = at::arange(30, at::kFloat).view({5, 6}).sub(7);
  std::map<std::string, at::Tensor> tensors = {{"empty", at::zeros({0, 3})},
                                               {"scalar", at::ones({}, at::kLong)},
                                               {"transposed", values.t()},
                                               {"strided", values.slice(1, 0, 6, 2)},
                                               {"unicode \xC3\xBC", values}};
  for (const auto dtype :
       {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16, at::kLong, at::kInt, at::kShort, at::kChar, at::kByte,
        at::kUInt16, at::kUInt32, at::kUInt64, at::kBool, at::kComplexFloat, at::kFloat8_e4m3fn, at::kFloat8_e5m2}) {
    tensors[std::string("of ") + c10::toString(dtype)] = values.abs().to(dtype);
  }
  return tensors;
}

std::map<std::string, PlainValue> values_of_every_kind() {
  return {{"lr_scheduler.a", true},
          {"lr_scheduler.b", int64_t{-1}},
          {"lr_scheduler.c", std::numeric_limits<int64_t>::min()},
          {"lr_scheduler.d", int64_t{70000}},
          {"lr_scheduler.e", 0.1},
          {"optimizer.f", FloatTuple{{0.9, 0.95}}},
          {"optimizer.g", FloatList{{}}}};
}

void write_checkpoint(const std::filesystem::path& folder, const std::map<std::string, at::Tensor>& tensors,
                      const std::map<std::string, PlainValue>& values, int64_t num_threads) {
  std::vector<ShardItem> items;
  add_items(items, "", tensors);
  const WrittenShard shard = write_shard(folder, 0, items, values, num_threads);
  write_durable_file(folder / ".metadata", to_pickle(shard.metadata));
}

bool same_bytes(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() &&
         at::equal(a.contiguous().view(-1).view(at::kByte), b.contiguous().view(-1).view(at::kByte));
}

TEST(ShardWriter, WritesWhatIsReadBack) {
  const auto tensors = tensors_of_every_kind();
  for (const int64_t num_threads : {1, 3}) {
    const TempFolder folder;
    write_checkpoint(folder.path(), tensors, values_of_every_kind(), num_threads);
    const DcpReader reader(folder.path());
    EXPECT_EQ(reader.tensors().size(), tensors.size());
    for (const auto& [name, tensor] : tensors) EXPECT_TRUE(same_bytes(reader.read(name), tensor)) << name;
    EXPECT_EQ(reader.read_integer("lr_scheduler.b"), -1);
    EXPECT_EQ(reader.read_integer("lr_scheduler.c"), std::numeric_limits<int64_t>::min());
    EXPECT_EQ(reader.read_integer("lr_scheduler.d"), 70000);
    EXPECT_EQ(reader.read_integer("lr_scheduler.absent"), std::nullopt);
    EXPECT_EQ(reader.read_object("lr_scheduler.e")->root().real, 0.1);
    EXPECT_EQ(reader.read_object("optimizer.f")->root().items.size(), 2u);
    expect_refused([&] { reader.read_integer("lr_scheduler.e"); }, "expected an int, got a float");
  }
}

// libtorch's own unpickler takes the records for what torch.save writes.
TEST(ShardWriter, WritesRecordsThatLibtorchReads) {
  const TempFolder folder;
  const auto values = at::arange(35, at::kFloat).view({5, 7});
  write_checkpoint(folder.path(), {{"w", values}}, {}, 1);
  const DcpPlace place = DcpReader(folder.path()).metadata().tensors.at("w").chunks[0].place;
  const std::string bytes = read_bytes(folder / place.file).substr(place.offset, place.length);
  const auto loaded = torch::jit::pickle_load(std::vector<char>(bytes.begin(), bytes.end()));
  EXPECT_TRUE(at::equal(loaded.toTensor(), values));
}

TEST(Boxes, SplitCoversOnceInOrder) {
  const Box box{.offsets = {2, 0, 1}, .sizes = {5, 3, 4}};
  for (const int64_t most : {1, 3, 4, 7, 12, 13, 60, 100}) {
    int64_t sum = 0;
    const auto parts = split(box, most);
    for (size_t i = 0; i < parts.size(); ++i) {
      EXPECT_LE(parts[i].numel(), most);
      EXPECT_EQ(intersection(parts[i], box), parts[i]);
      for (size_t j = 0; j < i; ++j) EXPECT_EQ(intersection(parts[i], parts[j]), std::nullopt);
      sum += parts[i].numel();
    }
    EXPECT_EQ(sum, 60) << most;
  }
}

// Every byte of every file of a small checkpoint, changed in turn: refused, or what was saved is what is loaded.
TEST(DamagedCheckpoint, EveryFlippedByteIsRefusedOrHarmless) {
  drop_stack_traces();
  const TempFolder dump;
  config::Checkpoint settings;
  settings.enable = true;
  settings.load_only = true;
  const auto values = at::arange(6, at::kFloat).view({2, 3});
  TrainState state{.model = {{"w", values.clone()}},
                   .optimizer = {{"state.w.step", at::ones({})}},
                   .counters = {{"train_state.step", 3}, {"lr_scheduler.last_epoch", 3}},
                   .for_others = {}};
  Checkpointer checkpointer(settings, dump.path(), "", std::nullopt);
  checkpointer.save(3, state, /*last_step=*/false);
  const auto path = dump.path() / "checkpoint" / "step-3";
  int num_refused = 0, num_tried = 0;
  for (const std::string file : {"manifest.json", ".metadata", "__0_0.distcp"}) {
    const std::string original = read_bytes(path / file);
    ASSERT_FALSE(original.empty());
    for (size_t at = 0; at < original.size(); ++at) {
      std::string bytes = original;
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << at % 8));
      write_bytes(path / file, bytes);
      state.model.at("w").zero_();
      state.counters["train_state.step"] = 0;
      ++num_tried;
      try {
        checkpointer.load({.path = path, .step = 3}, state);
        ASSERT_TRUE(at::equal(state.model.at("w"), values)) << file << " byte " << at;
        ASSERT_EQ(state.counters.at("train_state.step"), 3) << file << " byte " << at;
      } catch (const c10::ValueError&) {
        ++num_refused;
      }
    }
    write_bytes(path / file, original);
  }
  EXPECT_GT(num_refused, num_tried * 9 / 10);  // white space in the manifest is the rest
}

}  // namespace
}  // namespace titan::checkpoint
