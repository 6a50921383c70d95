#include "titan/distributed/p2p.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include "tests/support/backends.h"
#include "tests/support/run_ranks.h"
#include "tests/support/tensors.h"

namespace titan::distributed {
namespace {

class Exchange : public testing::TestWithParam<test::BackendCase> {
 protected:
  void run(const std::function<void(ProcessGroup& group, int64_t next, int64_t previous)>& body) const {
    test::run_ranks(GetParam().num_ranks, GetParam().backend, [&](const auto& world) {
      const auto group = world->group();
      body(*group, (group->rank() + 1) % group->size(), (group->rank() + group->size() - 1) % group->size());
    });
  }
};

TEST_P(Exchange, PassesTensorsAroundARing) {
  run([](ProcessGroup& group, int64_t next, int64_t previous) {
    at::Tensor x = at::full({3, 2}, static_cast<double>(group.rank()));
    for (int64_t hop = 1; hop <= group.size(); ++hop) {
      const at::Tensor from_previous = at::zeros({2, 3}).t();  // strided
      exchange({send(x, next), receive(from_previous, previous)}, group).wait();
      const auto origin = static_cast<double>((group.rank() + group.size() * 2 - hop) % group.size());
      EXPECT_TRUE(at::equal(from_previous, at::full({3, 2}, origin)));
      x = from_previous;
    }
  });
}

// More than one under way between two ranks, of other sizes and dtypes, an empty one among them.
TEST_P(Exchange, KeepsTheOrderOfMessages) {
  run([](ProcessGroup& group, int64_t next, int64_t previous) {
    const auto dtype = [](int64_t i) { return i % 3 == 0 ? at::kFloat : i % 3 == 1 ? at::kBFloat16 : at::kBool; };
    std::vector<PendingTensors> pending;
    std::vector<at::Tensor> received;
    for (int64_t i = 0; i < 60; i += 2) {
      std::vector<Message> messages;
      for (int64_t j = i; j < i + 2; ++j) {
        messages.push_back(send(at::full({j}, static_cast<double>(j % 2), dtype(j)), next));
        received.push_back(at::full({j}, 9, dtype(j)));
        messages.push_back(receive(received.back(), previous));
      }
      pending.push_back(exchange(std::move(messages), group));
    }
    for (auto operation = pending.rbegin(); operation != pending.rend(); ++operation) operation->wait();
    for (int64_t j = 0; j < 60; ++j) {
      EXPECT_TRUE(at::equal(received[static_cast<size_t>(j)], at::full({j}, static_cast<double>(j % 2), dtype(j))))
          << j;
    }
  });
}

TEST_P(Exchange, RefusesAPeerThatIsNone) {
  run([](ProcessGroup& group, int64_t /*next*/, int64_t /*previous*/) {
    EXPECT_THROW(exchange({send(at::ones({1}), group.rank())}, group), c10::ValueError);
    EXPECT_THROW(exchange({receive(at::ones({1}), group.size())}, group), c10::ValueError);
    EXPECT_TRUE(exchange({}, group).wait().empty());
  });
}

INSTANTIATE_TEST_SUITE_P(Backends, Exchange, testing::ValuesIn(test::on_every_backend_and_staged({2, 3, 4})),
                         test::case_name);

}  // namespace
}  // namespace titan::distributed
