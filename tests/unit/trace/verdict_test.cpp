// Verdicts on jobs that are written down here: steps of all_gather (a), reduce_scatter (r), all_reduce (s).
#include "titan/trace/verdict.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <map>

#include <nlohmann/json.hpp>

#include "titan/trace/report.h"

namespace titan::trace {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

// Ranks whose operations are the letters of a text, all in one group unless a channel is chosen. A capital letter has
// another shape. All are over but a last one with '?', in which the rank waits.
class Job {
 public:
  explicit Job(int64_t num_ranks) {
    for (int64_t rank = 0; rank < num_ranks; ++rank) everybody_.push_back(rank);
  }

  Job& group(const std::string& key, const std::vector<int64_t>& ranks, const std::string& name = "") {
    channels_[key] = {key, name.empty() ? key : name, "shm", ranks, key.find('>') != std::string::npos};
    return *this;
  }

  // "world:arars tp:a?": operations by channel, in their order.
  Job& rank(int64_t rank, const std::string& text, const std::string& reason = "operation") {
    if (!channels_.contains("world")) group("world", everybody_);
    Dump dump{.rank = rank, .world_size = static_cast<int64_t>(everybody_.size()), .reason = reason};
    for (const auto& [key, channel] : channels_) {
      if (std::find(channel.ranks.begin(), channel.ranks.end(), rank) != channel.ranks.end())
        dump.channels[key] = channel;
    }
    std::istringstream words(text);
    std::map<std::string, int64_t> numbers;
    int64_t time = 1000 * kSecond + rank;
    for (std::string word; words >> word;) {
      const std::string channel = word.substr(0, word.find(':'));
      const std::string letters = word.substr(word.find(':') + 1);
      for (size_t i = 0; i < letters.size(); ++i) {
        if (letters[i] == '?') continue;
        dump.operations.push_back(operation_of(letters[i], channel));
        Operation& operation = dump.operations.back();
        operation.id = static_cast<int64_t>(dump.operations.size()) - 1;
        operation.sequence = numbers[channel]++;
        operation.enqueued_ns = operation.waiting_ns = time += kSecond;
        const bool waits = i + 1 < letters.size() && letters[i + 1] == '?';
        operation.done_ns = waits ? 0 : time + 1000;
      }
    }
    dump.time_ns = 2000 * kSecond;
    dumps_.push_back(std::move(dump));
    return *this;
  }

  std::vector<Verdict> verdicts() const { return judge(RanksTogether(dumps_)); }
  const std::vector<Dump>& dumps() const { return dumps_; }

 private:
  static Operation operation_of(char letter, const std::string& channel) {
    Operation operation;
    operation.channel = channel;
    operation.name = std::tolower(letter) == 'a'   ? "all_gather"
                     : std::tolower(letter) == 'r' ? "reduce_scatter"
                                                   : "all_reduce";
    if (channel.find('>') != std::string::npos) operation.name = letter == 's' ? "send" : "receive";
    operation.module = std::string("layers.") + static_cast<char>(std::tolower(letter));
    operation.input = operation.output = {{std::isupper(letter) != 0 ? 9 : 4}, "Float"};
    return operation;
  }

  std::vector<int64_t> everybody_;
  std::map<std::string, Channel> channels_;
  std::vector<Dump> dumps_;
};

void expect(const Verdict& verdict, Kind kind, const std::vector<int64_t>& ranks, const std::string& place) {
  EXPECT_STREQ(name_of(verdict.kind), name_of(kind)) << verdict.text;
  EXPECT_EQ(verdict.ranks, ranks) << verdict.text;
  EXPECT_EQ(to_text(verdict.place), place) << verdict.text;
}

TEST(Judge, WhoNeverCame) {
  const auto verdicts = Job(4)
                            .rank(0,
                                  "world:arsars"
                                  "a?")
                            .rank(1, "world:arsarsa?")
                            .rank(2, "world:arsarsa?")
                            .rank(3, "world:arsars")
                            .verdicts();
  ASSERT_EQ(verdicts.size(), 1U);
  expect(verdicts[0], Kind::kNeverCame, {3}, "all_gather 6 on world (layers.a)");
  EXPECT_EQ(
      verdicts[0].text,
      "rank 3 never reached all_gather 6 on world (layers.a): its last was 5, done 994 s ago; ranks 0, 1, 2 wait");
}

// 2 x 2: rank 3 hangs before an operation of tp; 2 waits for it there, 0 and 1 wait in dp for those two.
TEST(Judge, WhoEverybodyWaitsForThroughOthers) {
  Job job(4);
  job.group("dp0", {0, 2}).group("dp1", {1, 3}).group("tp0", {0, 1}).group("tp1", {2, 3});
  job.rank(0, "tp0:a dp0:r tp0:a dp0:r?").rank(1, "tp0:a dp1:r tp0:a dp1:r?");
  job.rank(2, "tp1:a dp0:r tp1:a?").rank(3, "tp1:a dp1:r");
  const auto verdicts = job.verdicts();
  expect(verdicts[0], Kind::kNeverCame, {3}, "all_gather 1 on tp1 (layers.a)");
  EXPECT_EQ(verdicts[0].waiting, (std::vector<int64_t>{0, 1, 2}));
}

TEST(Judge, WhoDied) {
  const auto verdicts = Job(3).rank(0, "world:arsa?").rank(2, "world:arsa?").verdicts();
  expect(verdicts[0], Kind::kDied, {1}, "all_gather 3 on world (layers.a)");
  EXPECT_EQ(verdicts[0].waiting, (std::vector<int64_t>{0, 2}));
}

// 2 x 2: rank 2 died before an operation of dp that is begun ahead. Its neighbour in tp blocks before the one in dp
// does; but rank 0, whose groups are called the same, tells which of the two comes first.
TEST(Judge, WhereTheDeadWouldHaveBeenByWhatItsTwinsDid) {
  Job job(4);
  job.group("dp0", {0, 2}, "dp").group("dp1", {1, 3}, "dp").group("tp0", {0, 1}, "tp").group("tp1", {2, 3}, "tp");
  job.group("own", {0});
  job.rank(0, "own:ssss tp0:a dp0:ra? tp0:r").rank(1, "tp0:a dp1:ra tp0:r").rank(3, "tp1:a dp1:ra tp1:r?");
  const auto verdicts = job.verdicts();
  expect(verdicts[0], Kind::kDied, {2}, "all_gather 1 on dp (layers.a)");
  EXPECT_EQ(verdicts[0].waiting, (std::vector<int64_t>{0, 3}));
}

TEST(Judge, WhoFailedByItselfBeforeAnythingElse) {
  const auto verdicts = Job(2).rank(0, "world:arsa?").rank(1, "world:ars", "exception").verdicts();
  expect(verdicts[0], Kind::kFailed, {1}, "all_reduce 2 on world (layers.s)");
}

TEST(Judge, WhoCameWithAnotherShape) {
  const auto verdicts = Job(3).rank(0, "world:arsa?").rank(1, "world:arsA?").rank(2, "world:arsa?").verdicts();
  expect(verdicts[0], Kind::kShape, {1}, "all_gather 3 on world (layers.a)");
  EXPECT_NE(verdicts[0].text.find("with Float [9], ranks 0, 2 with Float [4]"), std::string::npos) << verdicts[0].text;
}

// Two ranks: what they did in earlier steps tells who is wrong.
TEST(Judge, WhoLeftOneOut) {
  const auto verdicts = Job(2).rank(0, "world:arsarsars?").rank(1, "world:arsarsas?").verdicts();
  expect(verdicts[0], Kind::kLeftOut, {1}, "reduce_scatter 7 on world (layers.r)");
}

TEST(Judge, WhoCalledTwoInTheOtherOrder) {
  const auto verdicts = Job(2).rank(0, "world:arsarsasr?").rank(1, "world:arsarsar?").verdicts();
  expect(verdicts[0], Kind::kOrder, {0}, "reduce_scatter 7 on world (layers.r)");
}

TEST(Judge, BothWhereThereIsNoTelling) {
  const auto verdicts = Job(2).rank(0, "world:a?").rank(1, "world:r?").verdicts();
  expect(verdicts[0], Kind::kOther, {0, 1}, "all_gather 0 on world (layers.a)");
}

TEST(Judge, WhoWaitsForEachOther) {
  Job job(2);
  job.group("p0>1", {0, 1}).group("p1>0", {0, 1});
  job.rank(0, "p0>1:s p1>0:r?").rank(1, "p0>1:r p0>1:r?");
  const auto verdicts = job.verdicts();
  EXPECT_EQ(verdicts[0].kind, Kind::kEachOther);
  EXPECT_EQ(verdicts[0].ranks, (std::vector<int64_t>{0, 1})) << verdicts[0].text;
}

// Rank 1 leaves out its message to rank 2 in the fifth step.
TEST(Judge, WhoDepartedFromItsStepsWhereRanksWaitForEachOther) {
  Job job(3);
  for (const char* key : {"p0>1", "p1>0", "p1>2", "p2>1"}) job.group(key, {key[1] - '0', key[3] - '0'});
  const auto steps = [](const std::string& step, int times) {
    std::string text;
    for (int i = 0; i < times; ++i) text += step;
    return text;
  };
  job.rank(0, steps("p0>1:s p1>0:r ", 4) + "p0>1:s p1>0:r?");
  job.rank(1, steps("p0>1:r p1>2:s p2>1:r p1>0:s ", 4) + "p0>1:r p2>1:r?");
  job.rank(2, steps("p1>2:r p2>1:s ", 4) + "p1>2:r?");
  const auto verdicts = job.verdicts();
  expect(verdicts[0], Kind::kEachOther, {1}, "send 4 on p1>2");
  EXPECT_NE(verdicts[0].text.find("when it called receive 4 on p2>1 where send 4 on p1>2 was due"), std::string::npos)
      << verdicts[0].text;
}

TEST(Judge, WhatAllBeganAndDoesNotEnd) {
  const auto verdicts = Job(2).rank(0, "world:ars?").rank(1, "world:ars?").verdicts();
  expect(verdicts[0], Kind::kUnfinished, {0, 1}, "all_reduce 2 on world (layers.s)");
}

TEST(Judge, NothingOfAJobThatIsWell) {
  EXPECT_EQ(Job(2).rank(0, "world:ars").rank(1, "world:arsa").verdicts()[0].kind, Kind::kNothing);
  EXPECT_EQ(Job(1).rank(0, "").verdicts()[0].kind, Kind::kNothing);
}

TEST(Report, SaysTheSameInWordsAndAsJson) {
  Job job(3);
  job.rank(0, "world:arsa?").rank(2, "world:ars");
  const RanksTogether ranks(job.dumps());
  const std::string text = to_text(ranks);
  EXPECT_EQ(text.find("rank 1 left no dump"), std::string::npos);
  EXPECT_EQ(text.find("rank 2 never reached all_gather 3"), 0U) << text;
  EXPECT_NE(text.find("rank 1: no dump"), std::string::npos) << text;
  const auto json = nlohmann::json::parse(to_json(ranks));
  EXPECT_EQ(json["verdicts"][0]["kind"], "never came");
  EXPECT_EQ(json["verdicts"][0]["ranks"], nlohmann::json::array({2}));
  EXPECT_EQ(json["verdicts"][0]["sequence"], 3);
  EXPECT_EQ(json["ranks"].size(), 3U);
}

TEST(Report, NamesWhoComesLate) {
  Job job(2);
  job.rank(0, "world:ars").rank(1, "world:ars");
  const auto json = nlohmann::json::parse(to_json(RanksTogether(job.dumps())));
  EXPECT_EQ(json["arrivals"]["num_collectives"], 3);
  EXPECT_EQ(json["arrivals"]["lateness"][0]["rank"], 1);  // a nanosecond
  EXPECT_EQ(json["arrivals"]["lateness"][0]["num_last"], 3);
}

}  // namespace
}  // namespace titan::trace
