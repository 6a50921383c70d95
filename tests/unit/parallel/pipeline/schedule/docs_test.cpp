// The drawings of docs/pipeline_parallel.md are what the simulator draws today, and the page shows each of them.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "titan/parallel/pipeline/schedule/registry.h"
#include "titan/parallel/pipeline/schedule/timeline_format.h"

namespace titan::pipeline {
namespace {

std::string content_of(const std::string& path) {
  std::ifstream file(std::string(TITAN_SOURCE_DIR) + "/" + path);
  EXPECT_TRUE(file.is_open()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

class Docs : public testing::TestWithParam<std::string_view> {};

TEST_P(Docs, DrawingIsTheSimulators) {
  const std::string name(GetParam());
  const Schedule schedule = make_schedule(name, {4, 4 * find_schedule(name).default_stages_per_rank(), 8});
  const std::string drawn = to_svg({name, schedule, {}, simulate(schedule)});
  // Not EXPECT_EQ: 30 KB of it would be printed twice.
  EXPECT_TRUE(content_of("docs/pipeline_parallel/" + name + ".svg") == drawn)
      << "make it anew: build/titan plan --schedule " << name
      << " --pp 4 --microbatches 8 --format svg > docs/pipeline_parallel/" << name << ".svg";
  EXPECT_NE(content_of("docs/pipeline_parallel.md").find("(pipeline_parallel/" + name + ".svg)"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(All, Docs, testing::ValuesIn(schedule_names()),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace titan::pipeline
