#include "titan/trace/dump_file.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>

#include "tests/support/tiny_job.h"
#include "titan/distributed/recorder/dump.h"
#include "titan/distributed/recorder/flight_recorder.h"

namespace titan::trace {
namespace {

using distributed::recorder::FlightRecorder;

std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const c10::ValueError& error) {
    return error.msg();
  }
  return "";
}

void write(const std::filesystem::path& path, int64_t rank) {
  distributed::recorder::write_dump(FlightRecorder(1), {rank, 2}, path);
}

TEST(ReadFolder, FindsTheDumpsOfAJob) {
  const test::OutputFolder folder;
  for (const int64_t rank : {0, 10, 2}) write(folder.path() / ("rank_" + std::to_string(rank)), rank);
  std::ofstream(folder.path() / "notes.txt") << "something else";
  std::vector<int64_t> ranks;
  for (const Dump& dump : read_folder(folder.path())) ranks.push_back(dump.rank);
  EXPECT_EQ(ranks, (std::vector<int64_t>{0, 2, 10}));
}

TEST(ReadFolder, TellsJobsApartByPrefix) {
  const test::OutputFolder folder;
  write(folder.path() / "rank_0", 0);
  write(folder.path() / "old_1", 1);
  EXPECT_NE(error_of([&] { read_folder(folder.path()); }).find("'old_' and 'rank_'; give one with --prefix"),
            std::string::npos);
  EXPECT_EQ(read_folder(folder.path(), "old_").front().rank, 1);
  EXPECT_NE(error_of([&] { read_folder(folder.path(), "new_"); }).find("expected dumps named new_<rank>, got none"),
            std::string::npos);
  EXPECT_NE(error_of([&] { read_folder(folder.path() / "nowhere"); }).find("nowhere: expected a folder"),
            std::string::npos);
}

TEST(ReadDump, RefusesWhatIsNone) {
  const test::OutputFolder folder;
  const auto path = folder.path() / "rank_3";
  std::ofstream(path) << "no pickle";
  EXPECT_NE(error_of([&] { read_folder(folder.path()); }).find("rank_3"), std::string::npos);
  // Cut off in the middle.
  write(path, 3);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
  EXPECT_NE(error_of([&] { read_folder(folder.path()); }).find("rank_3"), std::string::npos);
  // Another rank's, by its name.
  write(path, 4);
  EXPECT_NE(error_of([&] { read_folder(folder.path()); }).find("expected the dump of rank 3"), std::string::npos);
}

}  // namespace
}  // namespace titan::trace
