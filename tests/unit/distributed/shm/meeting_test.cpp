#include "titan/distributed/shm/meeting.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <future>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/HashStore.hpp>

namespace titan::distributed::shm {
namespace {

class MeetingOfThree : public testing::Test {
 protected:
  BackendRequest request(int64_t rank) const {
    BackendRequest request;
    request.store = store_;
    request.rank = rank;
    request.size = 3;
    request.ranks = {4, 5, 6};
    request.timeout = std::chrono::seconds(20);
    request.local_address = "127.0.0.1";
    return request;
  }
  // What `call` gives on the ranks given.
  template <class Result>
  std::vector<Result> on(const std::vector<int64_t>& ranks, Result (*call)(const BackendRequest&)) const {
    std::vector<std::future<Result>> calls;
    for (const int64_t rank : ranks) {
      calls.push_back(std::async(std::launch::async, [=, this] { return call(request(rank)); }));
    }
    std::vector<Result> results;
    for (auto& one : calls) results.push_back(one.get());
    return results;
  }
  c10::intrusive_ptr<c10d::Store> store_ = c10::make_intrusive<c10d::HashStore>();
};

TEST_F(MeetingOfThree, LinksAllRanks) {
  const auto meetings = on<Meeting>({0, 1, 2}, meet);
  for (const Meeting& meeting : meetings) ASSERT_NE(meeting.links, nullptr) << meeting.why_not;
  EXPECT_EQ(meetings[1].links->rank(), 1);
  EXPECT_EQ(meetings[1].links->name(2), "rank 6");
  meetings[1].links->to(2).publish({1, 2, 3});
  EXPECT_TRUE(meetings[2].links->from(1).ready());
  EXPECT_FALSE(meetings[2].links->from(0).ready());
  EXPECT_FALSE(meetings[2].links->mail_from(1).ready());
  EXPECT_TRUE(meetings[2].links->head(1).process.runs());
}

TEST_F(MeetingOfThree, FailsOnAllRanksIfOneHasNoMemory) {
  store_->set("segment/1", std::string("none: rank 5: no room"));
  store_->add("num_mapped", 1);
  for (const Meeting& meeting : on<Meeting>({0, 2}, meet)) {
    EXPECT_EQ(meeting.links, nullptr);
    EXPECT_EQ(meeting.why_not, "rank 5: no room");
  }
}

// As where a process id means another process: of another container, or of a clone of this machine.
TEST_F(MeetingOfThree, FailsOnAllRanksIfOneCannotBeReached) {
  const std::string elsewhere = fmt::format("{} 0 4096 1 2", getpid());
  store_->set("segment/1", elsewhere);
  store_->add("num_mapped", 1);
  const auto meetings = on<Meeting>({0, 2}, meet);
  EXPECT_EQ(meetings[0].links, nullptr);
  EXPECT_EQ(meetings[0].why_not, meetings[1].why_not);
  EXPECT_NE(meetings[0].why_not.find(" is another process's"), std::string::npos) << meetings[0].why_not;
}

TEST_F(MeetingOfThree, KnowsWhetherAllAreOnOneHost) {
  for (const bool answer : on<bool>({0, 1, 2}, on_one_host)) EXPECT_TRUE(answer);
}

TEST_F(MeetingOfThree, KnowsWhetherOneIsOnAnother) {
  store_->add("host/another", 1);
  store_->add("num_present", 1);
  for (const bool answer : on<bool>({0, 2}, on_one_host)) EXPECT_FALSE(answer);
}

using BackendPtr = c10::intrusive_ptr<c10d::Backend>;

TEST_F(MeetingOfThree, MakesShmTheAutomaticChoice) {
  for (const BackendPtr& backend :
       on<BackendPtr>({0, 1, 2}, [](const BackendRequest& request) { return backend_factory("auto")(request); })) {
    EXPECT_EQ(backend->getBackendName(), "shm");
  }
}

TEST_F(MeetingOfThree, LeavesItToGlooWhereMemoryCannotBeShared) {
  store_->set("mapped", std::string("a test does not want it"));
  for (const BackendPtr& backend :
       on<BackendPtr>({0, 1, 2}, [](const BackendRequest& request) { return backend_factory("auto")(request); })) {
    EXPECT_EQ(backend->getBackendName(), "gloo");
  }
}

TEST_F(MeetingOfThree, IsAMistakeWhereShmIsAskedForAndCannotBe) {
  store_->set("mapped", std::string("a test does not want it"));
  for (const std::string& mistake : on<std::string>({0, 1, 2}, [](const BackendRequest& request) -> std::string {
         try {
           backend_factory("shm")(request);
           return "none";
         } catch (const c10::ValueError& error) {
           return error.what_without_backtrace();
         }
       })) {
    EXPECT_EQ(mistake,
              "comm.cpu_backend: shm is for groups whose ranks share the memory of one host, which ranks 4-6 do not: "
              "a test does not want it; use auto or gloo");
  }
}

}  // namespace
}  // namespace titan::distributed::shm
