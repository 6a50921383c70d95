// The algorithms without engine or threads: the tasks of all ranks are resumed one at a time, in random orders, so that
// any rank may be far ahead of any other. A deadlock shows at once.
#include "titan/distributed/shm/algorithms.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>

#include "tests/support/tensors.h"
#include "tests/unit/distributed/shm/links_of_one_process.h"

namespace titan::distributed::shm {
namespace {

using Tensors = std::vector<at::Tensor>;

Part memory_of(const at::Tensor& x) {
  return {static_cast<std::byte*>(x.data_ptr()), static_cast<int64_t>(x.nbytes())};
}

// Whole numbers, other ones on each rank.
at::Tensor numbers(int64_t numel, int64_t rank) {
  return at::randint(0, 1000, {numel}, at::make_generator<at::CPUGeneratorImpl>(rank), at::kFloat);
}

Tensors numbers_of_all(int64_t numel, int64_t num_ranks) {
  Tensors all;
  for (int64_t rank = 0; rank < num_ranks; ++rank) all.push_back(numbers(numel, rank));
  return all;
}

at::Tensor sum(const Tensors& xs) {
  at::Tensor sum = at::zeros_like(xs.front());
  for (const at::Tensor& x : xs) sum = sum + x;
  return sum;
}

// None, less than a slot, and several rounds of slots for every rank; none a multiple of anything.
constexpr int64_t kSizes[] = {0, 1, 77, 100'003, 555'555};

class Algorithms : public testing::TestWithParam<int64_t> {
 protected:
  Algorithms() : links_(links_of_one_process(GetParam())) {}

  int64_t size() const { return GetParam(); }
  Links& links(int64_t rank) { return *links_[static_cast<size_t>(rank)]; }

  // One task of each rank, to the end. Some ranks are preferred, so they run ahead.
  void run(const std::function<Task(int64_t rank)>& make) {
    std::vector<Task> tasks;
    for (int64_t rank = 0; rank < size(); ++rank) tasks.push_back(make(rank));
    run(std::move(tasks));
  }
  void run(std::vector<Task> tasks) {
    while (!tasks.empty()) {
      std::vector<size_t> candidates;
      for (size_t i = 0; i < tasks.size(); ++i) {
        if (tasks[i].can_go_on()) candidates.push_back(i);
      }
      ASSERT_FALSE(candidates.empty()) << "all wait for each other";
      const double drawn = std::pow(std::uniform_real_distribution<double>()(random_), 3);
      const size_t chosen = candidates[static_cast<size_t>(drawn * static_cast<double>(candidates.size()))];
      tasks[chosen].go_on();
      if (tasks[chosen].over()) {
        EXPECT_TRUE(tasks[chosen].has_sent_all());
        tasks.erase(tasks.begin() + static_cast<std::ptrdiff_t>(chosen));
      }
    }
  }

 private:
  std::vector<std::unique_ptr<Links>> links_;
  std::mt19937 random_{1};
};

TEST_P(Algorithms, AllReduceGivesEveryRankTheSum) {
  for (const int64_t numel : kSizes) {
    const Tensors xs = numbers_of_all(numel, size());
    const at::Tensor expected = sum(xs);
    run([&](int64_t rank) {
      return all_reduce(links(rank), memory_of(xs[static_cast<size_t>(rank)]), {ReduceOp::kSum, at::kFloat}, 0);
    });
    for (const at::Tensor& x : xs) EXPECT_TRUE(at::equal(x, expected)) << numel;
  }
}

TEST_P(Algorithms, AllGatherGivesEveryRankAllParts) {
  for (const int64_t numel : kSizes) {
    const Tensors xs = numbers_of_all(numel, size());
    Tensors outputs;
    for (int64_t rank = 0; rank < size(); ++rank) outputs.push_back(at::zeros({size(), numel}));
    run([&](int64_t rank) {
      std::vector<std::byte*> parts;
      for (const at::Tensor& part : outputs[static_cast<size_t>(rank)].unbind(0)) parts.push_back(memory_of(part).data);
      return all_gather(links(rank), memory_of(xs[static_cast<size_t>(rank)]), parts, 0);
    });
    for (const at::Tensor& output : outputs) EXPECT_TRUE(at::equal(output.flatten(), at::cat(xs))) << numel;
  }
}

// Parts of other sizes, the last rank's empty.
TEST_P(Algorithms, ReduceScatterGivesEachRankItsPart) {
  for (const int64_t numel : kSizes) {
    std::vector<int64_t> sizes;
    for (int64_t rank = 0; rank < size(); ++rank) sizes.push_back(rank == size() - 1 ? 0 : numel + 3 * rank);
    int64_t total = 0;
    for (const int64_t part : sizes) total += part;
    const Tensors xs = numbers_of_all(total, size()), expected = sum(xs).split_with_sizes(sizes);
    Tensors outputs;
    for (const int64_t part : sizes) outputs.push_back(at::zeros({part}));
    run([&](int64_t rank) {
      std::vector<Part> inputs;
      for (const at::Tensor& part : xs[static_cast<size_t>(rank)].split_with_sizes(sizes)) {
        inputs.push_back(memory_of(part));
      }
      return reduce_scatter(links(rank), Kind::kReduceScatter, inputs,
                            memory_of(outputs[static_cast<size_t>(rank)]).data, {ReduceOp::kSum, at::kFloat}, 0);
    });
    for (size_t rank = 0; rank < outputs.size(); ++rank) EXPECT_TRUE(at::equal(outputs[rank], expected[rank])) << numel;
  }
}

TEST_P(Algorithms, BroadcastGivesAllWhatTheSourceHas) {
  for (const int64_t numel : kSizes) {
    const Tensors xs = numbers_of_all(numel, size());
    const int64_t source = numel % size();
    const at::Tensor expected = xs[static_cast<size_t>(source)].clone();
    run([&](int64_t rank) { return broadcast(links(rank), memory_of(xs[static_cast<size_t>(rank)]), source); });
    for (const at::Tensor& x : xs) EXPECT_TRUE(at::equal(x, expected)) << numel;
  }
}

// Rank i sends (i + 2 j) % 3 thirds of the size to rank j, and some more, so that no two messages are alike.
TEST_P(Algorithms, AllToAllGivesEachWhatIsMeantForIt) {
  for (const int64_t numel : kSizes) {
    const auto length = [&](int64_t from, int64_t to) { return (from + 2 * to) % 3 * (numel / 3 + from); };
    const auto message = [&](int64_t from, int64_t to) { return numbers(length(from, to), 100 * from + to); };
    std::vector<Tensors> inputs, outputs;
    run([&](int64_t rank) {
      inputs.emplace_back();
      outputs.emplace_back();
      std::vector<Part> sent, received;
      for (int64_t peer = 0; peer < size(); ++peer) {
        inputs.back().push_back(message(rank, peer));
        outputs.back().push_back(at::zeros({length(peer, rank)}));
        sent.push_back(memory_of(inputs.back().back()));
        received.push_back(memory_of(outputs.back().back()));
      }
      return all_to_all(links(rank), Kind::kAllToAll, sent, received, 0);
    });
    for (int64_t rank = 0; rank < size(); ++rank) {
      for (int64_t peer = 0; peer < size(); ++peer) {
        EXPECT_TRUE(at::equal(outputs[static_cast<size_t>(rank)][static_cast<size_t>(peer)], message(peer, rank)));
      }
    }
  }
}

// Both directions at once, larger than the rings.
TEST_P(Algorithms, MessagesCrossEachOther) {
  for (const int64_t numel : kSizes) {
    const Tensors xs = numbers_of_all(numel, size());
    Tensors received;
    std::vector<Task> tasks;
    for (int64_t rank = 0; rank < size(); ++rank) {
      for (const int64_t peer : links(rank).peers()) {
        received.push_back(at::zeros({numel}));
        tasks.push_back(send(links(rank), memory_of(xs[static_cast<size_t>(rank)]), peer, 5));
        tasks.push_back(receive(links(rank), memory_of(received.back()), peer, 5));
      }
    }
    run(std::move(tasks));
    auto message = received.begin();
    for (int64_t rank = 0; rank < size(); ++rank) {
      for (const int64_t peer : links(rank).peers()) {
        EXPECT_TRUE(at::equal(*message++, xs[static_cast<size_t>(peer)])) << numel;
      }
    }
  }
}

// One after another over the same rings, without a barrier between them.
TEST_P(Algorithms, FollowEachOther) {
  constexpr int64_t kNumel = 50'001;
  const Tensors xs = numbers_of_all(kNumel, size()), ys = numbers_of_all(kNumel, size());
  const at::Tensor expected = sum(xs);
  for (int i = 0; i < 3; ++i) {
    const Tensors zs = numbers_of_all(kNumel, size());
    run([&](int64_t rank) {
      return all_reduce(links(rank), memory_of(zs[static_cast<size_t>(rank)]), {ReduceOp::kSum, at::kFloat}, 0);
    });
    for (const at::Tensor& z : zs) EXPECT_TRUE(at::equal(z, expected));
    run([&](int64_t rank) { return broadcast(links(rank), memory_of(ys[static_cast<size_t>(rank)]), i % size()); });
  }
}

INSTANTIATE_TEST_SUITE_P(Ranks, Algorithms, testing::Values(2, 3, 5, 8));

TEST(AlgorithmsOfAMismatch, SayWhoIsInWhat) {
  const auto links = links_of_one_process(2);
  const at::Tensor x = at::ones({10}), y = at::ones({10});
  std::vector<std::byte*> outputs{memory_of(x).data, memory_of(x).data};
  Task gather = all_gather(*links[0], memory_of(x), outputs, 6);
  Task reduce = all_reduce(*links[1], memory_of(y), {ReduceOp::kSum, at::kFloat}, 6);
  gather.go_on();
  try {
    reduce.go_on();
    ADD_FAILURE() << "it went on";
  } catch (const c10::Error& error) {
    EXPECT_STREQ(error.what_without_backtrace(),
                 "rank 10 is in all_gather of 40 bytes (tag 6), rank 11 in all_reduce of 40 bytes (tag 6)");
  }
}

}  // namespace
}  // namespace titan::distributed::shm
