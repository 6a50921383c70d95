#include "titan/distributed/rank_info.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <map>

namespace titan::distributed {
namespace {

using Variables = std::map<std::string, std::string>;

RankInfo read(const Variables& variables) {
  return rank_info_from([&](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

std::string mistake(const Variables& variables) {
  try {
    read(variables);
  } catch (const c10::ValueError& error) {
    return error.what_without_backtrace();
  }
  return "none";
}

const Variables kTorchrun{{"RANK", "5"},
                          {"LOCAL_RANK", "1"},
                          {"WORLD_SIZE", "8"},
                          {"LOCAL_WORLD_SIZE", "4"},
                          {"MASTER_ADDR", "node1"},
                          {"MASTER_PORT", "29400"}};

Variables with(Variables variables, const std::string& name, const std::string& value) {
  variables[name] = value;
  return variables;
}

Variables without(Variables variables, const std::string& name) {
  variables.erase(name);
  return variables;
}

TEST(RankInfo, IsAWorldOfOneWithoutVariables) {
  const RankInfo info = read({});
  EXPECT_EQ(info.rank, 0);
  EXPECT_EQ(info.world_size, 1);
  EXPECT_EQ(info.local_world_size, 1);
}

TEST(RankInfo, ReadsTorchrunsVariables) {
  const RankInfo info = read(kTorchrun);
  EXPECT_EQ(info.rank, 5);
  EXPECT_EQ(info.local_rank, 1);
  EXPECT_EQ(info.world_size, 8);
  EXPECT_EQ(info.local_world_size, 4);
  EXPECT_EQ(info.master_addr, "node1");
  EXPECT_EQ(info.master_port, 29400);
  EXPECT_FALSE(info.agent_hosts_store);
}

TEST(RankInfo, KnowsThatTorchrunsAgentServesTheStore) {
  const RankInfo info =
      read(with(with(kTorchrun, "TORCHELASTIC_USE_AGENT_STORE", "True"), "TORCHELASTIC_RESTART_COUNT", "2"));
  EXPECT_TRUE(info.agent_hosts_store);
  EXPECT_EQ(info.restart_count, 2);
  EXPECT_FALSE(read(with(kTorchrun, "TORCHELASTIC_USE_AGENT_STORE", "False")).agent_hosts_store);
}

TEST(RankInfo, WithoutLocalVariablesCountsOnOneMachineOnlyAtALoopbackAddress) {
  const Variables global = without(without(kTorchrun, "LOCAL_RANK"), "LOCAL_WORLD_SIZE");
  EXPECT_EQ(read(global).local_rank, 0);
  EXPECT_EQ(read(global).local_world_size, 1);
  EXPECT_EQ(read(with(global, "MASTER_ADDR", "127.0.0.1")).local_rank, 5);
  EXPECT_EQ(read(with(global, "MASTER_ADDR", "localhost")).local_world_size, 8);
}

TEST(RankInfo, ReadsOpenMpisVariables) {
  const RankInfo info = read({{"OMPI_COMM_WORLD_RANK", "2"},
                              {"OMPI_COMM_WORLD_SIZE", "3"},
                              {"OMPI_COMM_WORLD_LOCAL_RANK", "2"},
                              {"OMPI_COMM_WORLD_LOCAL_SIZE", "3"},
                              {"SLURM_PROCID", "0"},  // inside salloc
                              {"SLURM_NTASKS", "16"}});
  EXPECT_EQ(info.rank, 2);
  EXPECT_EQ(info.world_size, 3);
  EXPECT_EQ(info.local_rank, 2);
  EXPECT_EQ(info.master_addr, "127.0.0.1");
  EXPECT_GT(info.master_port, 0);
}

TEST(RankInfo, AsksForTheAddressWhenMpirunUsesSeveralMachines) {
  const Variables variables{{"OMPI_COMM_WORLD_RANK", "2"},
                            {"OMPI_COMM_WORLD_SIZE", "8"},
                            {"OMPI_COMM_WORLD_LOCAL_RANK", "2"},
                            {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"}};
  EXPECT_EQ(mistake(variables),
            "MASTER_ADDR (environment): expected the host of rank 0, since the ranks (8) are on several machines (4 on "
            "this one), got nothing; with mpirun: -x MASTER_ADDR=HOST");
  EXPECT_EQ(read(with(variables, "MASTER_ADDR", "10.0.0.1")).master_addr, "10.0.0.1");
}

TEST(RankInfo, ReadsPmisVariables) {
  const RankInfo info =
      read({{"PMI_RANK", "3"}, {"PMI_SIZE", "4"}, {"MPI_LOCALRANKID", "3"}, {"MPI_LOCALNRANKS", "4"}});
  EXPECT_EQ(info.rank, 3);
  EXPECT_EQ(info.world_size, 4);
  EXPECT_EQ(info.local_rank, 3);
  EXPECT_EQ(info.local_world_size, 4);
}

const Variables kSrun{{"SLURM_PROCID", "5"},
                      {"SLURM_NTASKS", "6"},
                      {"SLURM_LOCALID", "1"},
                      {"SLURM_NODEID", "1"},
                      {"SLURM_NTASKS_PER_NODE", "4"},
                      {"SLURM_STEP_TASKS_PER_NODE", "4,2"},
                      {"SLURM_JOB_NODELIST", "gpu[003-004]"},
                      {"SLURM_LAUNCH_NODE_IPADDR", "10.0.0.7"},
                      {"SLURM_JOB_ID", "1234"},
                      {"SLURM_STEP_ID", "0"}};

TEST(RankInfo, ReadsSrunsVariables) {
  const RankInfo info = read(kSrun);
  EXPECT_EQ(info.rank, 5);
  EXPECT_EQ(info.world_size, 6);
  EXPECT_EQ(info.local_rank, 1);
  EXPECT_EQ(info.local_world_size, 2);
  EXPECT_EQ(info.master_addr, "gpu003");
  EXPECT_GE(info.master_port, 1024);
  EXPECT_LT(info.master_port, 32768);
}

TEST(RankInfo, TakesTheLaunchNodeWhereSrunNamesNoOther) {
  EXPECT_EQ(read(without(kSrun, "SLURM_JOB_NODELIST")).master_addr, "10.0.0.7");
  EXPECT_EQ(read(with(kSrun, "MASTER_ADDR", "head")).master_addr, "head");
  EXPECT_EQ(read(with(kSrun, "MASTER_PORT", "4000")).master_port, 4000);
}

TEST(RankInfo, UnderstandsSlurmsLists) {
  const auto host = [](const std::string& list) { return read(with(kSrun, "SLURM_JOB_NODELIST", list)).master_addr; };
  EXPECT_EQ(host("a,b"), "a");
  EXPECT_EQ(host("node-[7,9-12]-ib,x"), "node-7-ib");
  EXPECT_EQ(host("r[01-02]n[10-20]"), "r01n10");
  const auto local = [](const std::string& tasks, const std::string& node) {
    return read(with(with(with(kSrun, "SLURM_STEP_TASKS_PER_NODE", tasks), "SLURM_NODEID", node), "SLURM_LOCALID", "0"))
        .local_world_size;
  };
  EXPECT_EQ(local("2(x3)", "2"), 2);
  EXPECT_EQ(local("1,2(x2),1", "2"), 2);
  EXPECT_EQ(local("1,2(x2),1", "3"), 1);
}

TEST(RankInfo, DoesNotTakeABatchScriptForATask) {
  const Variables script{{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "16"}, {"ENVIRONMENT", "BATCH"}};
  EXPECT_EQ(read(script).world_size, 1);
}

TEST(RankInfo, NamesTheVariableThatIsWrong) {
  EXPECT_EQ(mistake(with(kTorchrun, "RANK", "x")), "RANK (environment): expected a number from 0 on, got 'x'");
  EXPECT_EQ(mistake(with(kTorchrun, "WORLD_SIZE", "-1")),
            "WORLD_SIZE (environment): expected a number from 0 on, got '-1'");
  EXPECT_EQ(mistake(without(kTorchrun, "WORLD_SIZE")),
            "WORLD_SIZE (environment): expected a number, since RANK is set, got nothing");
  EXPECT_EQ(mistake(without(kTorchrun, "MASTER_ADDR")),
            "MASTER_ADDR (environment): expected the host of rank 0, since WORLD_SIZE is 8, got nothing");
  EXPECT_EQ(mistake(without(kTorchrun, "MASTER_PORT")),
            "MASTER_PORT (environment): expected a number, since WORLD_SIZE is set, got nothing");
  EXPECT_EQ(mistake(with(kTorchrun, "MASTER_PORT", "70000")),
            "MASTER_PORT (environment): expected a port from 1 to 65535, got 70000");
  EXPECT_EQ(mistake(with(kTorchrun, "RANK", "8")), "RANK (environment): expected less than the world size (8), got 8");
  EXPECT_EQ(mistake(with(kTorchrun, "LOCAL_RANK", "4")),
            "LOCAL_RANK (environment): expected less than the number of ranks on this machine (4), got 4");
  EXPECT_EQ(mistake({{"WORLD_SIZE", "4"}}),
            "RANK (environment): expected this process's number, since WORLD_SIZE is 4, got nothing; start the ranks "
            "with `titan launch`");
  EXPECT_EQ(mistake({{"WORLD_SIZE", "1"}}), "none");
}

}  // namespace
}  // namespace titan::distributed
