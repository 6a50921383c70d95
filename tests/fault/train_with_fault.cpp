// `titan train` with an error planted in one rank's communication, which TITAN_TEST_FAULT describes as
// "<fault> <rank> <operation>": at that operation, by its number among all that the rank begins, or soon after it,
//   hang   it never goes on
//   kill   it is killed, once what it began before is over
//   shape  it comes with another shape
//   skip   it leaves the operation out
//   swap   it calls the next operation of the group first
// Where it happened goes to the file that TITAN_TEST_FAULT_REPORT names: [{"group", "sequence", "module"}] of the
// operation, as the flight recorder names it; of an exchange, of each of its messages. A program of its own, so that
// nothing of it is in the product.
#include <ATen/ops/zeros.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <thread>

#include "cli/train.h"
#include "titan/distributed/collectives.h"
#include "titan/distributed/p2p.h"
#include "titan/distributed/rank_info.h"
#include "titan/distributed/recorder/flight_recorder.h"
#include "titan/distributed/recorder/served_module.h"

namespace titan {
namespace {

using namespace distributed;  // NOLINT(google-build-using-namespace): a program of one file

// An operation that was begun, as far as it takes to begin one like it.
struct Begun {
  std::string name;
  std::vector<int64_t> sizes;
  at::ScalarType dtype;
  ProcessGroup* group;
  recorder::ModuleName module;
  struct Letter {
    Message::Direction direction;
    int64_t peer;
    std::vector<int64_t> sizes;
    bool operator==(const Letter&) const = default;
  };
  std::vector<Letter> messages;

  bool operator==(const Begun& other) const {
    const auto text = [](const recorder::ModuleName& name) { return name == nullptr ? "" : *name; };
    return name == other.name && sizes == other.sizes && dtype == other.dtype && group == other.group &&
           text(module) == text(other.module) && messages == other.messages;
  }
};

int64_t numel_of(const std::vector<int64_t>& sizes) {
  int64_t numel = 1;
  for (const int64_t size : sizes) numel *= size;
  return numel;
}

// Begins one like `like`, of zeros, with `more` elements per rank, and waits for its end.
void run(const Begun& like, int64_t more) {
  ProcessGroup& group = *like.group;
  const recorder::ServedModule served(like.module);
  const int64_t n = group.size(), numel = numel_of(like.sizes) + n * more;
  const at::TensorOptions options = at::dtype(like.dtype);
  const auto zeros = [&](int64_t size) { return at::zeros({size}, options); };
  const auto shaped = [&] { return more == 0 ? at::zeros(like.sizes, options) : zeros(numel); };
  if (like.name == "all_gather_into") all_gather_into(zeros(numel * n), shaped(), group).wait();
  if (like.name == "reduce_scatter_into") {
    reduce_scatter_into(zeros(numel / n), zeros(numel), ReduceOp::kSum, group).wait();
  }
  if (like.name == "all_gather") all_gather(shaped(), group).wait();
  if (like.name == "reduce_scatter") reduce_scatter(zeros(numel), ReduceOp::kSum, group).wait();
  if (like.name == "all_reduce") all_reduce_(shaped(), ReduceOp::kSum, group).wait();
  if (like.name == "broadcast") broadcast_(shaped(), 0, group).wait();
  if (like.name != "exchange") return;
  std::vector<Message> messages;
  for (const Begun::Letter& letter : like.messages) {
    const at::Tensor tensor = more == 0 ? at::zeros(letter.sizes, options) : zeros(numel_of(letter.sizes) + more);
    messages.push_back({letter.direction, tensor, letter.peer});
  }
  exchange(std::move(messages), group).wait();
}

bool can_run(const Begun& like) {
  for (const char* const name : {"all_gather_into", "reduce_scatter_into", "all_gather", "reduce_scatter", "all_reduce",
                                 "broadcast", "exchange"}) {
    if (like.name == name) return true;
  }
  return false;
}

class Saboteur {
 public:
  Saboteur(std::string fault, size_t at, std::string report)
      : fault_(std::move(fault)), at_(at), report_(std::move(report)) {}

  // Whether the operation shall be begun.
  bool before(const PlannedOperation& operation, ProcessGroup& group) {
    if (is_mine_) return true;
    Begun begun{operation.name, operation.tensor.sizes().vec(), operation.tensor.scalar_type(), &group,
                recorder::served_module()};
    if (operation.messages != nullptr) {
      for (const Message& message : *operation.messages) {
        begun.messages.push_back({message.direction, message.peer, message.tensor.sizes().vec()});
      }
    }
    history_.push_back(begun);
    if (due_later_.has_value() && *due_later_ == begun) {  // it ran before its turn
      due_later_.reset();
      return false;
    }
    if (is_done_ || history_.size() < at_ || group.size() == 1 || operation.tensor.numel() == 0) return true;
    return strike(begun);
  }

 private:
  bool strike(const Begun& begun) {
    std::optional<Begun> next;
    if (fault_ == "swap" || fault_ == "skip") {
      next = next_of_group();
      // Between equal operations there is no order, and the one that is left out cannot be told from the one after it.
      if (!next.has_value() || *next == begun || !can_run(*next)) return true;
      if (fault_ == "swap" && !has_an_order(begun, *next)) return true;
    }
    if (!can_run(begun) || (fault_ == "kill" && !is_awaited(begun))) return true;
    is_done_ = true;
    report(begun);
    if (fault_ == "hang") {
      while (true) pause();
    }
    if (fault_ == "kill") {
      end_of_earlier_ones(*begun.group->observers().recorder);
      raise(SIGKILL);
    }
    if (fault_ == "skip") return false;
    is_mine_ = true;
    if (fault_ == "shape") run(begun, /*more=*/8);
    if (fault_ == "swap") {
      run(*next, /*more=*/0);
      due_later_ = next;
    }
    is_mine_ = false;
    return fault_ == "swap";
  }

  // Whether others notice if `next` comes first. Messages go their own ways, and who sends does not wait; but who
  // awaits one that is sent after a collective, before he takes part in it, waits for ever.
  static bool has_an_order(const Begun& begun, const Begun& next) {
    if (!begun.messages.empty()) return false;
    const auto is_awaited = [](const Begun::Letter& letter) {
      return letter.direction == Message::Direction::kReceive;
    };
    return next.messages.empty() || std::any_of(next.messages.begin(), next.messages.end(), is_awaited);
  }

  // Whether others cannot go on without it. Who sends does not wait: whether a message was received only its receiver
  // knows, and who was killed tells nothing.
  static bool is_awaited(const Begun& begun) {
    return begun.messages.empty() ||
           std::any_of(begun.messages.begin(), begun.messages.end(),
                       [](const Begun::Letter& letter) { return letter.direction == Message::Direction::kSend; });
  }

  // Else the job would rightly be said to have ended in one of them.
  static void end_of_earlier_ones(recorder::FlightRecorder& recorder) {
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(2);
    while (!recorder.open().empty() && std::chrono::steady_clock::now() < give_up) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      recorder.look_for_ends();
    }
  }

  // The operation that this group's next one will be, as after the same operations in an earlier step.
  std::optional<Begun> next_of_group() const {
    const size_t now = history_.size() - 1;
    for (size_t period = 2; period <= now / 2; ++period) {
      size_t same = 0;
      while (same < period && history_[now - same] == history_[now - period - same]) ++same;
      if (same < period) continue;
      for (size_t i = now - period + 1; i <= now; ++i) {
        if (history_[i].group == history_[now].group) return history_[i];
      }
    }
    return std::nullopt;
  }

  void report(const Begun& begun) const {
    nlohmann::json places = nlohmann::json::array();
    const auto add = [&](const recorder::Channel& channel, const std::string& module) {
      places.push_back({{"group", channel.name}, {"sequence", channel.last_begun + 1}, {"module", module}});
    };
    if (begun.messages.empty()) add(*begun.group->collectives(), begun.module != nullptr ? *begun.module : "");
    for (const Begun::Letter& letter : begun.messages) {  // they serve a module at either end, so none
      add(*(letter.direction == Message::Direction::kSend ? begun.group->messages_to(letter.peer)
                                                          : begun.group->messages_from(letter.peer)),
          "");
    }
    std::ofstream(report_) << places;
  }

  std::string fault_;
  size_t at_;
  std::string report_;
  std::vector<Begun> history_;
  std::optional<Begun> due_later_;
  bool is_done_ = false, is_mine_ = false;
};

}  // namespace
}  // namespace titan

int main(int argc, char** argv) {
  using namespace titan;
  std::istringstream description(std::getenv("TITAN_TEST_FAULT") != nullptr ? std::getenv("TITAN_TEST_FAULT") : "");
  std::string fault;
  int64_t rank = -1;
  size_t at = 0;
  description >> fault >> rank >> at;
  cli::PlantedInWorld planted;
  if (rank == distributed::rank_info_from_environment().rank) {
    const auto saboteur = std::make_shared<Saboteur>(fault, at, std::getenv("TITAN_TEST_FAULT_REPORT"));
    planted.before_operation = [saboteur](const PlannedOperation& operation, ProcessGroup& group) {
      return saboteur->before(operation, group);
    };
  }
  try {
    return cli::run_train_with({argv + 2, argv + argc}, std::move(planted));  // after "train"
  } catch (const c10::Error& error) {
    std::fprintf(stderr, "titan train: %s\n", error.what_without_backtrace());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "titan train: %s\n", error.what());
  }
  return 1;
}
