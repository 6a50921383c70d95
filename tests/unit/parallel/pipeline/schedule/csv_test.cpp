#include "titan/parallel/pipeline/schedule/csv.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "titan/parallel/pipeline/schedule/registry.h"

namespace titan::pipeline {
namespace {

// A file that goes away with the test.
class CsvFile {
 public:
  explicit CsvFile(const std::string& text)
      : path_(std::filesystem::temp_directory_path() / ("titan_schedule_" + std::to_string(getpid()) + ".csv")) {
    std::ofstream(path_) << text;
  }
  CsvFile(const CsvFile&) = delete;
  CsvFile& operator=(const CsvFile&) = delete;
  ~CsvFile() { std::filesystem::remove(path_); }

  std::string path() const { return path_; }

 private:
  std::filesystem::path path_;
};

TEST(ScheduleCsv, EveryScheduleComesBackAsItWas) {
  for (const std::string_view name : schedule_names()) {
    const int64_t num_stages = 3 * find_schedule(name).default_stages_per_rank();
    const Schedule schedule = make_schedule(name, {3, num_stages, 6});
    const Schedule read = read_schedule_csv(CsvFile(to_csv(schedule)).path());
    EXPECT_EQ(read.ranks, schedule.ranks) << name;
    EXPECT_EQ(read.rank_of_stage, schedule.rank_of_stage) << name;
    EXPECT_EQ(read.shape.num_stages, num_stages) << name;
    EXPECT_EQ(read.shape.num_microbatches, 6) << name;
  }
}

TEST(ScheduleCsv, EmptyCellsAndLineEndsOfDosMeanNothing) {
  const Schedule schedule = read_schedule_csv(CsvFile("0F0,,,0B0\r\n,1F0,1I0,1W0\r\n").path());
  EXPECT_EQ(to_csv(schedule), "0F0,0B0\n1F0,1I0,1W0\n");
}

struct Mistake {
  const char* name;
  const char* csv;
  const char* expected;  // behind the file's name
};

class ScheduleCsvMistake : public testing::TestWithParam<Mistake> {};

TEST_P(ScheduleCsvMistake, IsOneLineWithLineAndAction) {
  const CsvFile file(GetParam().csv);
  try {
    read_schedule_csv(file.path());
    FAIL() << "accepted";
  } catch (const c10::ValueError& error) {
    const std::string& message = error.msg();
    EXPECT_EQ(message, file.path() + GetParam().expected);
    EXPECT_EQ(message.find('\n'), std::string::npos);
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, ScheduleCsvMistake,
    testing::Values(
        Mistake{"Empty", "", ": expected a line of actions per rank, got an empty file"},
        Mistake{"EmptyLine", "0F0,0B0\n\n1F0,1B0\n", ": line 2: expected the actions of rank 1, got none"},
        Mistake{"NoAction", "0F0,0B0\n1F0,1X0\n",
                ": line 2, cell 2: expected an action such as 2F0, 1UNSHARD or (0F1;1B0)OVERLAP_F_B, got \"1X0\""},
        Mistake{
            "Communication", "0F0,0SEND_F0,0B0\n1F0,1B0\n",
            ": line 1, cell 2 (0SEND_F0): only F, I, W, B and OVERLAP_F_B belong here; the rest is added by itself"},
        Mistake{"StageOfTwoRanks", "0F0,0B0,1F1,1B1\n,1F0,1B0,0F1,0B1\n",
                ": line 2, cell 2 (1F0): stage 1 is on rank 0; a stage has one rank"},
        Mistake{"StageOfNone", "0F0,0B0\n2F0,2B0\n", ": no line has an action of stage 1, but there are 3 stages"},
        Mistake{"HugeStage", "0F0,0B0,123456789F0\n",
                ": line 1, cell 3 (123456789F0): stages and microbatches are below 100000"},
        Mistake{"HugeProduct", "99999F0,0F99999\n", ": at most 5000000 stages x microbatches, got 100000 x 100000"},
        Mistake{"Twice", "0F0,0F0,0B0\n", ": line 1, cell 2 (0F0): comes twice, at action 1 before"},
        Mistake{"BackwardFirst", "0B0,0F0\n", ": line 1, cell 1 (0B0): needs 0F0 before it"},
        Mistake{"InputFirst", "0I0,0F0,0W0\n", ": line 1, cell 1 (0I0): needs 0F0 before it"},
        Mistake{"WeightFirst", "0F0,0W0,0I0\n", ": line 1, cell 2 (0W0): needs 0I0 before it"},
        Mistake{"FullAndSplit", "0F0,0B0,0I0,0W0\n",
                ": line 1, cell 3 (0I0): its B is there too; a backward is one B, or one I and one W"},
        Mistake{"SplitAndFull", "0F0,0I0,0B0,0W0\n",
                ": line 1, cell 3 (0B0): its I is there too; a backward is one B, or one I and one W"},
        Mistake{"BackwardOfItsOwnOverlap", "(0F0;0B0)OVERLAP_F_B\n",
                ": line 1, cell 1 ((0F0;0B0)OVERLAP_F_B): needs 0F0 before it"},
        Mistake{"NoForward", "0F0,0B0\n1F0,1B0,1F1,1B1\n", ": line 1: 0F1 is missing: 2 stages run 2 microbatches"},
        Mistake{"NoBackward", "0F0,0B0\n1F0\n", ": line 2: 1B0 is missing: 2 stages run 1 microbatches"},
        Mistake{"NoWeight", "0F0,0I0\n1F0,1B0\n", ": line 1: 0W0 is missing: 2 stages run 1 microbatches"},
        // Rank 0 wants the gradient of microbatch 0 first, rank 1 wants to see microbatch 1 before it makes one.
        Mistake{"Deadlock", "0F0,,0B0,0F1,0B1\n1F0,,1F1,1B0,1B1\n",
                ": line 1, cell 3 (0B0): waits for ever for the backward of stage 1, microbatch 0: rank 1 is at its "
                "action 2 "
                "(1F1)"}),
    [](const auto& info) { return info.param.name; });

TEST(ScheduleCsv, NamesAFileThatIsNotThere) {
  EXPECT_THROW(read_schedule_csv("/nowhere/schedule.csv"), c10::ValueError);
  EXPECT_THROW(read_schedule_csv("/"), c10::ValueError);
}

}  // namespace
}  // namespace titan::pipeline
