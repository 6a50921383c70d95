#include "titan/checkpoint/checkpointer.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>

#include "tests/unit/checkpoint/expect_refused.h"
#include "tests/unit/checkpoint/temp_folder.h"
#include "titan/checkpoint/dcp_reader.h"
#include "titan/checkpoint/safetensors_reader.h"
#include "titan/logging/logger.h"

namespace titan::checkpoint {
namespace {

TrainState state_of(double value, int64_t step) {
  return {.model = {{"w", at::full({3, 5}, value)}, {"b", at::full({5}, value, at::kBFloat16)}},
          .optimizer = {{"state.w.exp_avg", at::full({3, 5}, value / 2)}, {"state.w.step", at::full({}, step)}},
          .counters = {{"train_state.step", step}, {"dataloader.next_sample", step * 8}},
          .for_others = {}};
}

void expect_state(const TrainState& state, double value, int64_t step) {
  EXPECT_TRUE(at::equal(state.model.at("w"), at::full({3, 5}, value)));
  EXPECT_TRUE(at::equal(state.optimizer.at("state.w.exp_avg"), at::full({3, 5}, value / 2)));
  EXPECT_EQ(state.counters.at("train_state.step"), step);
  EXPECT_EQ(state.counters.at("dataloader.next_sample"), step * 8);
}

// "w" is "hf.w" there, negated.
ForeignFormat negated_format() {
  return {.to_fqn = [](std::string_view name) { return std::optional(std::string(name.substr(3))); },
          .to_name = [](std::string_view fqn) { return std::optional("hf." + std::string(fqn)); },
          .from_foreign = [](std::string_view, const at::Tensor& t) { return t.neg(); },
          .to_foreign = [](std::string_view, const at::Tensor& t) { return t.neg(); },
          .config_json = [](at::ScalarType) { return std::string("{\"model_type\": \"negated\"}\n"); }};
}

class CheckpointerTest : public testing::Test {
 protected:
  CheckpointerTest() { settings_.enable = true; }

  Checkpointer checkpointer() const { return {settings_, dump_.path(), dump_ / "hf_assets", negated_format()}; }
  std::optional<LoadSource> load_newest(TrainState& state) const { return checkpointer().load_newest(state); }
  void load_is_refused(const std::string& reason) const {
    auto state = state_of(0, 0);
    expect_refused([&] { load_newest(state); }, reason);
  }
  std::filesystem::path step_path(int64_t step) const {
    return dump_.path() / "checkpoint" / ("step-" + std::to_string(step));
  }
  std::vector<int64_t> steps() const { return CheckpointFolder(dump_ / "checkpoint").steps(); }
  void save(int64_t step, bool last_step = false) const {
    checkpointer().save(step, state_of(static_cast<double>(step), step), last_step);
  }
  void flip_byte(const std::filesystem::path& file, size_t at) const {
    std::string bytes = read_bytes(file);
    ASSERT_LT(at, bytes.size());
    bytes[at] = static_cast<char>(bytes[at] ^ 1);
    write_bytes(file, bytes);
  }
  void expect_found(std::optional<int64_t> step) const {
    auto state = state_of(0, 0);
    const auto source = load_newest(state);
    EXPECT_EQ(source ? source->step : std::nullopt, step);
  }

  TempFolder dump_;
  config::Checkpoint settings_;
};

TEST_F(CheckpointerTest, RestoresWhatItSaved) {
  save(5);
  auto state = state_of(0, 0);
  const auto* const address = state.model.at("w").const_data_ptr();
  const auto source = load_newest(state);
  ASSERT_TRUE(source);
  EXPECT_EQ(source->step, 5);
  EXPECT_FALSE(source->model_only);
  expect_state(state, 5, 5);
  EXPECT_EQ(state.model.at("b").scalar_type(), at::kBFloat16);
  EXPECT_EQ(state.model.at("w").const_data_ptr(), address);
}

TEST_F(CheckpointerTest, SavesOnlyWhenItIsDue) {
  settings_.interval = 3;
  EXPECT_FALSE(checkpointer().should_save(1, false));
  EXPECT_FALSE(checkpointer().should_save(2, false));
  EXPECT_TRUE(checkpointer().should_save(3, false));
  EXPECT_TRUE(checkpointer().should_save(4, true));
  EXPECT_TRUE(checkpointer().should_save(0, true));  // a seed checkpoint
  settings_.enable_first_step_checkpoint = true;
  EXPECT_TRUE(checkpointer().should_save(1, false));
  settings_.load_only = true;
  EXPECT_FALSE(checkpointer().should_save(3, true));
  settings_.load_only = false;
  settings_.enable = false;
  EXPECT_FALSE(checkpointer().should_save(3, true));
}

TEST_F(CheckpointerTest, StartsFromScratchWhereNothingIs) {
  expect_found(std::nullopt);
  save(1);
  settings_.enable = false;
  expect_found(std::nullopt);
}

TEST_F(CheckpointerTest, TakesTheNewestOrTheOneAskedFor) {
  for (const int64_t step : {2, 10, 9}) save(step);
  expect_found(10);
  settings_.load_step = 2;
  expect_found(2);
  settings_.load_step = 3;
  load_is_refused("checkpoint.load_step: expected one of the steps in ");
  load_is_refused("(2, 9, 10), got 3");
}

TEST_F(CheckpointerTest, KeepsTheLatestAndAlwaysTheNewest) {
  settings_.keep_latest_k = 2;
  for (const int64_t step : {1, 2, 3, 10}) save(step);
  EXPECT_EQ(steps(), (std::vector<int64_t>{3, 10}));
  save(2);  // resumed from an older one: the new one stays, though its number is the smallest
  EXPECT_EQ(steps(), (std::vector<int64_t>{2, 3, 10}));
  settings_.keep_latest_k = 0;
  for (const int64_t step : {20, 21, 22, 23}) save(step);
  EXPECT_EQ(steps().size(), 7u);
}

TEST_F(CheckpointerTest, KeepsNoDamagedOneInPlaceOfAWholeOneAndLeavesOthersFilesAlone) {
  settings_.keep_latest_k = 2;
  for (const int64_t step : {1, 2}) save(step);
  std::filesystem::remove(step_path(2) / "__0_0.distcp");
  std::filesystem::create_directories(step_path(0));
  write_bytes(step_path(0) / ".metadata", "another program's");
  save(3);
  EXPECT_EQ(steps(), (std::vector<int64_t>{0, 1, 2, 3}));  // 1 and 3 are whole
}

TEST_F(CheckpointerTest, ReplacesAStepThatIsThere) {
  save(4);
  checkpointer().save(4, state_of(7, 4), false);
  auto state = state_of(0, 0);
  load_newest(state);
  expect_state(state, 7, 4);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dump_ / "checkpoint"), {}), 1);
}

TEST_F(CheckpointerTest, RemovesLeftoversAtTheNextStart) {
  save(1);
  save(9);
  const auto folder = dump_ / "checkpoint";
  for (const char* name : {".saving-2", ".removing-3", ".replaced-1"})
    std::filesystem::create_directories(folder / name);
  std::filesystem::create_directories(folder / "notes");
  // A replacement that was interrupted between its two renames.
  std::filesystem::rename(folder / "step-9", folder / ".replaced-9");
  settings_.load_only = true;
  checkpointer();
  EXPECT_TRUE(std::filesystem::exists(folder / ".saving-2"));  // load_only changes nothing
  settings_.load_only = false;
  checkpointer();
  EXPECT_EQ(steps(), (std::vector<int64_t>{1, 9}));  // .replaced-9 is back
  EXPECT_FALSE(std::filesystem::exists(folder / ".saving-2"));
  EXPECT_FALSE(std::filesystem::exists(folder / ".removing-3"));
  EXPECT_TRUE(std::filesystem::exists(folder / "notes"));
}

TEST_F(CheckpointerTest, RefusesDamagedCheckpoints) {
  save(1);
  save(2);
  const auto refused = [&](const std::string& reason) {
    load_is_refused(reason);
    settings_.on_corrupt = "previous";
    expect_found(1);
    settings_.on_corrupt = "stop";
    save(2);  // whole again
    expect_found(2);
  };
  flip_byte(step_path(2) / "__0_0.distcp", 200);
  refused("step-2/__0_0.distcp: is damaged: bytes 0 to ");
  flip_byte(step_path(2) / ".metadata", 200);
  refused("step-2/.metadata: is damaged: bytes 0 to ");
  std::filesystem::resize_file(step_path(2) / "__0_0.distcp", 100);
  refused("step-2/__0_0.distcp: is damaged: expected ");
  std::filesystem::remove(step_path(2) / "__0_0.distcp");
  refused("step-2/__0_0.distcp: is missing");
  std::string manifest = read_bytes(step_path(2) / "manifest.json");
  manifest.replace(manifest.find("\"step\": 2"), 9, "\"step\": 3");
  write_bytes(step_path(2) / "manifest.json", manifest);
  refused("manifest.json: is damaged: its content does not have its checksum");
  write_bytes(step_path(2) / "manifest.json", "{");
  refused("manifest.json: is damaged");
}

TEST_F(CheckpointerTest, NeverTakesAnIncompleteCheckpoint) {
  save(1);
  save(2);
  for (const char* file : {"manifest.json", ".metadata"}) std::filesystem::remove(step_path(2) / file);
  expect_found(1);
  std::filesystem::create_directories(dump_ / "checkpoint" / "step-3");
  std::filesystem::create_directories(dump_ / "checkpoint" / "step-04");
  expect_found(1);
}

TEST_F(CheckpointerTest, AFailedSaveChangesNothing) {
  save(1);
  auto state = state_of(2, 2);
  state.model["z"] = at::zeros({2}, at::kComplexHalf);  // no dtype of the format
  EXPECT_THROW(checkpointer().save(1, state, false), c10::Error);
  settings_.on_save_error = "warn";
  checkpointer().save(1, state, false);
  settings_.async_mode = "async";
  auto background = checkpointer();
  background.save(1, state, false);
  background.wait_for_save();
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dump_ / "checkpoint"), {}), 1);
  auto loaded = state_of(0, 0);
  load_newest(loaded);
  expect_state(loaded, 1, 1);
}

// As the optimizer's step does: large enough that the copy is not over when save() returns.
TEST_F(CheckpointerTest, WhatIsCopiedMayChangeWhileItIsWritten) {
  constexpr int64_t kSize = int64_t{24} << 20;
  settings_.async_mode = "async";
  auto background = checkpointer();
  auto state = state_of(1, 1);
  state.model["large"] = at::full({kSize}, 1.0);
  for (int64_t step = 1; step <= 3; ++step) {
    background.save(step, state, false);
    background.wait_until_copied();
    state.model["large"].add_(1.0);
  }
  background.wait_for_save();
  state.model["large"].zero_();
  checkpointer().load(LoadSource{.path = step_path(3), .step = 3, .model_only = true}, state);
  EXPECT_TRUE(at::equal(state.model["large"], at::full({kSize}, 3.0)));
}

TEST_F(CheckpointerTest, ALastSaveHoldsTheModelOnly) {
  settings_.export_dtype = "bfloat16";
  save(3);
  save(6, /*last_step=*/true);
  const DcpReader reader(step_path(6));
  EXPECT_EQ(reader.tensors().at("w"), (TensorInfo{at::kBFloat16, {3, 5}}));
  EXPECT_EQ(reader.tensors().size(), 2u);
  EXPECT_TRUE(reader.metadata().objects.empty());
  EXPECT_EQ(DcpReader(step_path(3)).tensors().at("w").dtype, at::kFloat);  // a periodic save is exact

  auto state = state_of(0, 0);
  expect_refused([&] { load_newest(state); }, "step-6: holds the model only");
  settings_.exclude_from_loading = {"optimizer", "lr_scheduler", "dataloader", "train_state"};
  load_newest(state);
  EXPECT_TRUE(at::equal(state.model.at("w"), at::full({3, 5}, 6.0)));
  EXPECT_EQ(state.counters.at("train_state.step"), 0);

  settings_.last_save_model_only = false;
  save(7, /*last_step=*/true);
  EXPECT_EQ(DcpReader(step_path(7)).tensors().at("w").dtype, at::kFloat);
  EXPECT_TRUE(DcpReader(step_path(7)).tensors().contains("optimizer.state.w.exp_avg"));
}

TEST_F(CheckpointerTest, ALastSaveForHuggingFaceIsAnInitialLoadElsewhere) {
  settings_.last_save_in_hf = true;
  save(3, /*last_step=*/true);
  EXPECT_EQ(read_bytes(step_path(3) / "config.json"), "{\"model_type\": \"negated\"}\n");
  EXPECT_TRUE(at::equal(SafetensorsReader(step_path(3)).read("hf.w"), at::full({3, 5}, -3.0)));

  settings_.initial_load_path = step_path(3).string();
  settings_.folder = "other";
  for (const bool in_hf : {false, true}) {  // told by the names
    settings_.initial_load_in_hf = in_hf;
    auto state = state_of(0, 0);
    const auto source = load_newest(state);
    ASSERT_TRUE(source);
    EXPECT_TRUE(source->model_only);
    EXPECT_TRUE(at::equal(state.model.at("w"), at::full({3, 5}, 3.0)));
    EXPECT_TRUE(at::equal(state.optimizer.at("state.w.exp_avg"), at::zeros({3, 5})));
  }
}

TEST_F(CheckpointerTest, InitialLoadYieldsToTheRunsOwnCheckpoints) {
  save(1);
  settings_.initial_load_path = step_path(1).string();
  settings_.folder = "other";
  auto state = state_of(0, 0);
  const auto initial = load_newest(state);
  ASSERT_TRUE(initial);
  EXPECT_EQ(initial->step, std::nullopt);
  save(2);  // into other/
  expect_found(2);
}

TEST_F(CheckpointerTest, InitialLoadMayTakeTheWholeState) {
  save(4);
  settings_.initial_load_path = step_path(4).string();
  settings_.initial_load_model_only = false;
  settings_.folder = "other";
  auto state = state_of(0, 0);
  load_newest(state);
  expect_state(state, 4, 4);

  settings_.initial_load_path = golden("dcp_single").string();
  expect_refused([&] { load_newest(state); }, "holds the model only");
}

TEST_F(CheckpointerTest, InitialLoadReadsDcpFolders) {
  settings_.initial_load_path = golden("dcp_sharded").string();
  const SafetensorsReader expected(golden("sharded.safetensors"));
  TrainState state;
  for (const auto& [name, info] : expected.tensors()) state.model.emplace(name, at::zeros(info.shape, at::kDouble));
  load_newest(state);
  for (const auto& [name, info] : expected.tensors()) {
    EXPECT_TRUE(at::equal(state.model.at(name), expected.read(name).to(at::kDouble))) << name;
  }
}

TEST_F(CheckpointerTest, InitialLoadRefusesWhatIsNotThereOrNotAskedFor) {
  auto state = state_of(0, 0);
  settings_.initial_load_path = (dump_ / "absent").string();
  load_is_refused("checkpoint.initial_load_path: expected a checkpoint, got");
  settings_.initial_load_path.reset();
  settings_.initial_load_in_hf = true;
  load_is_refused("model.hf_assets_path: expected a checkpoint, got");
  settings_.initial_load_in_hf = false;
  save(1);
  settings_.initial_load_path = step_path(1).string();
  settings_.folder = "other";
  settings_.initial_load_in_hf = true;
  expect_refused([&] { load_newest(state); }, "checkpoint.initial_load_in_hf: expected Hugging Face's tensor names");
}

TEST_F(CheckpointerTest, ASeedCheckpointIsTheModelAtStepZero) {
  settings_.last_save_model_only = false;
  save(0, /*last_step=*/true);
  auto state = state_of(3, 3);
  const auto source = load_newest(state);
  ASSERT_TRUE(source && source->model_only);
  EXPECT_TRUE(at::equal(state.model.at("w"), at::zeros({3, 5})));
  EXPECT_EQ(state.counters.at("train_state.step"), 3);
}

TEST_F(CheckpointerTest, ResumingIsExactAndTellsWhatDiffers) {
  save(1);
  auto state = state_of(0, 0);
  state.model["w"] = at::zeros({3, 4});
  state.model["b"] = at::zeros({5});
  state.optimizer.erase("state.w.step");
  expect_refused([&] { load_newest(state); },
                 "unexpected (1): optimizer.state.w.step; of another shape or dtype (2): b (expected float32 [5], got "
                 "bfloat16 [5]), w (expected float32 [3, 4], got float32 [3, 5])");
  state = state_of(0, 0);
  state.counters["dataloader.epoch"] = 0;  // another program's would be looked up by another name
  load_newest(state);
  EXPECT_FALSE(state.counters.contains("dataloader.epoch"));
  auto without_step = state_of(1, 1);
  without_step.counters.erase("train_state.step");
  checkpointer().save(1, without_step, false);
  state = state_of(0, 0);
  expect_refused([&] { load_newest(state); }, "lacks 'train_state.step', so a run cannot resume from it");
  EXPECT_TRUE(at::equal(state.model.at("w"), at::zeros({3, 5})));
}

TEST_F(CheckpointerTest, LeavesOutWhatIsExcluded) {
  save(1);
  settings_.exclude_from_loading = {"dataloader", "model"};
  auto state = state_of(0, 0);
  load_newest(state);
  EXPECT_TRUE(at::equal(state.model.at("w"), at::zeros({3, 5})));
  EXPECT_TRUE(at::equal(state.optimizer.at("state.w.exp_avg"), at::full({3, 5}, 0.5)));
  EXPECT_EQ(state.counters.at("train_state.step"), 1);
  EXPECT_EQ(state.counters.at("dataloader.next_sample"), 0);
}

TEST_F(CheckpointerTest, RefusesSettingsThatContradictEachOther) {
  const auto refused = [&](auto change, const std::string& reason) {
    settings_ = {};
    settings_.enable = true;
    change();
    expect_refused([&] { checkpointer(); }, reason);
    settings_.enable = false;
    checkpointer();  // then they do not matter
  };
  refused([&] { settings_.keep_latest_k = 1; }, "checkpoint.keep_latest_k: expected 0 (all) or at least 2, got 1");
  refused([&] { settings_.interval = 0; }, "checkpoint.interval: expected at least 1");
  refused([&] { settings_.exclude_from_loading = {"optimiser"}; }, "checkpoint.exclude_from_loading: expected some of");
  refused([&] { settings_.export_dtype = "fp8"; }, "checkpoint.export_dtype: expected");
  refused(
      [&] {
        settings_.last_save_in_hf = true;
        settings_.last_save_model_only = false;
      },
      "checkpoint.last_save_in_hf: needs checkpoint.last_save_model_only");
  refused(
      [&] {
        settings_.initial_load_in_hf = true;
        settings_.initial_load_model_only = false;
      },
      "checkpoint.initial_load_in_hf: needs checkpoint.initial_load_model_only");
  settings_ = {};
  settings_.enable = true;
  settings_.last_save_in_hf = true;
  expect_refused([&] { Checkpointer(settings_, dump_.path(), "", std::nullopt); }, "has no Hugging Face format");
}

// Saves for ever, on top of the last checkpoint at first. Runs in a child process, which is killed.
[[noreturn]] void save_until_killed(const std::filesystem::path& dump, bool async) {
  config::Checkpoint settings;
  settings.enable = true;
  settings.keep_latest_k = 2;
  settings.async_mode = async ? "async" : "disabled";
  Checkpointer checkpointer(settings, dump, "", std::nullopt);
  auto state = state_of(0, 0);
  const auto source = checkpointer.load_newest(state);
  for (int64_t step = source ? *source->step : 1;; ++step) {
    checkpointer.save(step, state_of(static_cast<double>(step), step), false);
  }
}

// Killed at 40 random moments, in saves, replacements and removals: the newest checkpoint is always there and whole,
// and never older than one seen before.
TEST(CheckpointerCrash, AnyMomentLeavesTheLastGoodCheckpoint) {
  const TempFolder dump;
  config::Checkpoint settings;
  settings.enable = true;
  settings.load_only = true;  // looks, but does not clean up
  int64_t newest = 0;
  unsigned random = 12345;
  for (int kill_index = 0; kill_index < 40; ++kill_index) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      logging::set_level(logging::Level::kError);
      save_until_killed(dump.path(), kill_index % 2 == 1);
    }
    // Once it has saved something new, at any moment of the next saves.
    const auto folder = CheckpointFolder(dump / "checkpoint");
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    const auto has_news = [&] {
      const auto steps = folder.steps();
      return !steps.empty() && steps.back() > newest;
    };
    while (!has_news() && std::chrono::steady_clock::now() < deadline) ::usleep(1000);
    random = random * 1664525 + 1013904223;
    ::usleep(random >> 18);  // up to 16 ms
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended by itself, status " << status;

    const Checkpointer checkpointer(settings, dump.path(), "", std::nullopt);
    auto state = state_of(0, 0);
    const auto source = checkpointer.load_newest(state);
    ASSERT_TRUE(source);
    ASSERT_GE(*source->step, newest);
    newest = *source->step;
    expect_state(state, static_cast<double>(newest), newest);
  }
}

}  // namespace
}  // namespace titan::checkpoint
