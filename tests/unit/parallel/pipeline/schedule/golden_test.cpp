// Action for action what PyTorch's own generators and its lowering make (tests/golden/pipeline_schedules).
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <sstream>
#include <string>

#include "titan/parallel/pipeline/schedule/csv.h"
#include "titan/parallel/pipeline/schedule/lower.h"
#include "titan/parallel/pipeline/schedule/registry.h"

namespace titan::pipeline {
namespace {

const std::filesystem::path kGoldens = std::filesystem::path(TITAN_SOURCE_DIR) / "tests/golden/pipeline_schedules";

// <schedule>_<ranks>x<stages per rank>x<microbatches>, the names of the files without endings.
std::vector<std::string> cases() {
  std::vector<std::string> stems;
  for (const auto& entry : std::filesystem::directory_iterator(kGoldens)) {
    const std::string name = entry.path().filename();
    if (name.ends_with(".lowered.csv")) stems.push_back(name.substr(0, name.find('.')));
  }
  std::sort(stems.begin(), stems.end());
  return stems;
}

std::string schedule_name(const std::string& stem) { return stem.substr(0, stem.find('_')); }

Schedule schedule_of(const std::string& stem) {
  std::istringstream numbers(stem.substr(stem.find('_') + 1));
  int64_t num_ranks = 0;
  int64_t stages_per_rank = 0;
  int64_t num_microbatches = 0;
  char times = 0;
  numbers >> num_ranks >> times >> stages_per_rank >> times >> num_microbatches;
  return make_schedule(schedule_name(stem), {num_ranks, num_ranks * stages_per_rank, num_microbatches});
}

std::string text_of(const std::vector<std::vector<Action>>& ranks) { return to_csv(Schedule{{}, {}, ranks}); }

class Golden : public testing::TestWithParam<std::string> {};

TEST_P(Golden, ScheduleIsPyTorchs) {
  EXPECT_EQ(to_csv(schedule_of(GetParam())), text_of(read_actions_csv(kGoldens / (GetParam() + ".csv"))));
}

TEST_P(Golden, LoweringIsPyTorchs) {
  EXPECT_EQ(to_csv(lower(schedule_of(GetParam()))),
            text_of(read_actions_csv(kGoldens / (GetParam() + ".lowered.csv"))));
}

INSTANTIATE_TEST_SUITE_P(PyTorch, Golden, testing::ValuesIn(cases()), [](const auto& info) { return info.param; });

TEST(Goldens, CoverEverySchedule) {
  std::set<std::string> covered;
  for (const std::string& stem : cases()) covered.insert(schedule_name(stem));
  const std::vector<std::string_view> known = schedule_names();
  EXPECT_EQ(covered, std::set<std::string>(known.begin(), known.end()));
}

}  // namespace
}  // namespace titan::pipeline
