#include "titan/launch/rank_environment.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <map>

#include "titan/launch/launch.h"

namespace titan::launch {
namespace {

std::map<std::string, std::string> environment(const LaunchOptions& options, int64_t local_rank, int64_t num_cores) {
  std::map<std::string, std::string> variables;
  for (const std::string& entry : rank_environment(options, local_rank, 29501, num_cores)) {
    const size_t equals = entry.find('=');
    EXPECT_TRUE(variables.emplace(entry.substr(0, equals), entry.substr(equals + 1)).second) << entry << " comes twice";
  }
  return variables;
}

TEST(RankEnvironment, HasTorchrunsVariables) {
  setenv("RANK", "77", 1);  // of a launcher that is itself a rank of something
  setenv("TORCHELASTIC_USE_AGENT_STORE", "True", 1);
  auto variables = environment({.nproc_per_node = 4, .num_nodes = 3, .node_rank = 2, .master_addr = "node0"}, 1, 8);
  unsetenv("RANK");
  unsetenv("TORCHELASTIC_USE_AGENT_STORE");
  EXPECT_EQ(variables.count("TORCHELASTIC_USE_AGENT_STORE"), 0u);
  EXPECT_EQ(variables["RANK"], "9");
  EXPECT_EQ(variables["LOCAL_RANK"], "1");
  EXPECT_EQ(variables["WORLD_SIZE"], "12");
  EXPECT_EQ(variables["LOCAL_WORLD_SIZE"], "4");
  EXPECT_EQ(variables["GROUP_RANK"], "2");
  EXPECT_EQ(variables["NODE_RANK"], "2");
  EXPECT_EQ(variables["MASTER_ADDR"], "node0");
  EXPECT_EQ(variables["MASTER_PORT"], "29501");
  EXPECT_EQ(variables["PATH"], getenv("PATH"));
}

TEST(RankEnvironment, DividesTheCoresUnlessTheUserDid) {
  unsetenv("OMP_NUM_THREADS");
  EXPECT_EQ(environment({.nproc_per_node = 3}, 0, 8)["OMP_NUM_THREADS"], "2");
  EXPECT_EQ(environment({.nproc_per_node = 16}, 0, 8)["OMP_NUM_THREADS"], "1");
  setenv("OMP_NUM_THREADS", "5", 1);
  EXPECT_EQ(environment({.nproc_per_node = 3}, 0, 8)["OMP_NUM_THREADS"], "5");
  unsetenv("OMP_NUM_THREADS");
}

TEST(RankEnvironment, WhatTheCallerAddsWins) {
  auto variables = environment({.environment = {{"RANK", "5"}, {"EXTRA", "a=b"}}}, 0, 1);
  EXPECT_EQ(variables["RANK"], "5");
  EXPECT_EQ(variables["EXTRA"], "a=b");
}

}  // namespace
}  // namespace titan::launch
