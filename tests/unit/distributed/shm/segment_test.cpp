#include "titan/distributed/shm/segment.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <optional>

namespace titan::distributed::shm {
namespace {

TEST(Segment, OpenedIsTheSameMemory) {
  const Segment mine = Segment::create(100'000);
  const Segment theirs = Segment::open(SegmentAddress::parse(mine.address().to_string()));
  EXPECT_NE(mine.data(), theirs.data());
  EXPECT_EQ(theirs.data()[99'999], std::byte{0});
  mine.data()[99'999] = std::byte{42};
  EXPECT_EQ(theirs.data()[99'999], std::byte{42});
}

TEST(Segment, IsSharedWithAnotherProcess) {
  const Segment mine = Segment::create(4096);
  const SegmentAddress address = mine.address();
  const pid_t child = fork();
  if (child == 0) {
    Segment::open(address).data()[7] = std::byte{1};
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(mine.data()[7], std::byte{1});
}

TEST(Segment, RemainsForWhoHasOpenedIt) {
  std::optional<Segment> mine = Segment::create(4096);
  mine->data()[0] = std::byte{3};
  const Segment theirs = Segment::open(mine->address());
  mine.reset();
  EXPECT_EQ(theirs.data()[0], std::byte{3});
}

TEST(Segment, RefusesWhatIsNotTheOneMeant) {
  Segment mine = Segment::create(4096);
  const Segment other = Segment::create(4096);
  SegmentAddress address = mine.address();
  address.descriptor = other.address().descriptor;
  EXPECT_THROW(Segment::open(address), c10::Error) << "the memory of another";
  address = mine.address();
  address.bytes = 8192;
  EXPECT_THROW(Segment::open(address), c10::Error) << "another size";
  mine.close_descriptor();
  EXPECT_THROW(Segment::open(mine.address()), c10::Error) << "nothing there";
  EXPECT_THROW(SegmentAddress::parse("12 monkeys"), c10::Error);
}

// Neither in /dev/shm nor elsewhere, so there is nothing that a crash could leave.
TEST(Segment, HasNoName) {
  const Segment mine = Segment::create(4096);
  std::ifstream file("/proc/self/maps");
  const std::string maps{std::istreambuf_iterator<char>(file), {}};
  EXPECT_NE(maps.find("/memfd:titan (deleted)"), std::string::npos);
  EXPECT_EQ(maps.find("/dev/shm"), std::string::npos);
}

TEST(Segment, TooLargeForTheMachineIsAnError) { EXPECT_THROW(Segment::create(int64_t{1} << 62), c10::Error); }

}  // namespace
}  // namespace titan::distributed::shm
