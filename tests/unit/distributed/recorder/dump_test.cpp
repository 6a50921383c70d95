// What is written is what titan/trace reads; what PyTorch's tool reads is for tests/oracle.
#include "titan/distributed/recorder/dump.h"

#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <fstream>
#include <torch/csrc/distributed/c10d/Work.hpp>

#include "tests/support/tiny_job.h"
#include "titan/distributed/recorder/flight_recorder.h"
#include "titan/trace/dump_file.h"

namespace titan::distributed::recorder {
namespace {

TEST(Dump, IsReadAsItWasWritten) {
  FlightRecorder recorder(100);
  Channel* const group = recorder.channel({.key = "0,1,2", .name = "dp_shard", .backend = "gloo", .ranks = {0, 1, 2}});
  Channel* const messages =
      recorder.channel({.key = "0,1,2:2>1", .name = "pp 2->1", .backend = "gloo", .ranks = {1, 2}, .sender = 1});
  const at::Tensor input = at::zeros({3, 5}), output = at::zeros({9, 5}), scalar = at::zeros({}, at::kLong), none;
  {
    const ServedModule served(std::make_shared<const std::string>("layers.10"));
    const int64_t id = recorder.begin({group, 812, "all_gather_into", "_all_gather_base", input, output});
    recorder.started(id, nullptr);
    recorder.waiting(id);
    recorder.waited(id, at::kCPU);
  }
  recorder.begin({group, 813, "scatter", "scatter", none, scalar});
  recorder.begin({messages, 0, "send", "send", input, input});

  const test::OutputFolder folder;
  const auto path = folder.path() / "new" / "rank_2";
  write_dump(recorder, {2, 3, Reason::kOperation, "in vain"}, path);
  const trace::Dump dump = trace::read_dump(path);
  EXPECT_EQ(dump.rank, 2);
  EXPECT_EQ(dump.world_size, 3);
  EXPECT_EQ(dump.reason, "operation");
  EXPECT_EQ(dump.message, "in vain");
  EXPECT_EQ(dump.channels.at("0,1,2").ranks, (std::vector<int64_t>{0, 1, 2}));
  EXPECT_EQ(dump.channels.at("0,1,2").backend, "gloo");
  EXPECT_TRUE(dump.channels.at("0,1,2:2>1").is_messages);
  ASSERT_EQ(dump.operations.size(), 3U);
  const trace::Operation& first = dump.operations[0];
  EXPECT_EQ(first.name, "all_gather_into");
  EXPECT_EQ(first.sequence, 812);
  EXPECT_EQ(first.module, "layers.10");
  EXPECT_EQ(first.output.sizes, (std::vector<int64_t>{9, 5}));
  EXPECT_EQ(first.output.dtype, "Float");
  EXPECT_GT(first.done_ns, 0);
  EXPECT_EQ(dump.operations[1].input.dtype, "");
  EXPECT_EQ(dump.operations[1].output, (trace::Shape{{}, "Long"}));
  EXPECT_EQ(dump.operations[2].done_ns, 0);
}

TEST(Dump, OfNothingIsADump) {
  const FlightRecorder recorder(1);
  const test::OutputFolder folder;
  write_dump(recorder, {}, folder.path() / "rank_0");
  EXPECT_TRUE(trace::read_dump(folder.path() / "rank_0").operations.empty());
}

TEST(Dump, SaysWhereItCannotBeWritten) {
  const FlightRecorder recorder(1);
  const test::OutputFolder folder;
  std::ofstream(folder.path() / "file") << "in the way";
  try {
    write_dump(recorder, {}, folder.path() / "file" / "rank_0");
    FAIL();
  } catch (const c10::Error& error) {
    EXPECT_NE(error.msg().find("file/rank_0: cannot be written: "), std::string::npos) << error.msg();
  }
}

}  // namespace
}  // namespace titan::distributed::recorder
