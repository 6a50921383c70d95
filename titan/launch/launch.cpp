#include "titan/launch/launch.h"

#include <c10/util/Exception.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <filesystem>
#include <memory>
#include <set>

#include "titan/launch/cores.h"
#include "titan/launch/failure_report.h"
#include "titan/launch/output_queue.h"
#include "titan/launch/rank_environment.h"
#include "titan/launch/rank_output.h"
#include "titan/launch/rank_process.h"
#include "titan/launch/reserved_port.h"
#include "titan/launch/signal_inbox.h"
#include "titan/launch/warden.h"

namespace titan::launch {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kMaxRanks = 1024;  // on one machine; more is a slip of the keyboard

// A pipe that got the number of a closed standard stream would be taken for it.
void open_standard_streams() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(fd, F_GETFD) < 0) open("/dev/null", O_RDWR);
  }
}

bool same_file(int a, int b) {
  struct stat first {
  }, second{};
  return fstat(a, &first) == 0 && fstat(b, &second) == 0 && first.st_dev == second.st_dev &&
         first.st_ino == second.st_ino;
}

// One job, from start to end, in one thread and one loop: wait for output, signals and deadlines, and act on them.
class Launcher {
 public:
  explicit Launcher(const LaunchOptions& options);
  int run();

 private:
  struct Rank {
    int64_t rank;
    RankProcess process;
    RankOutput output;
    std::array<bool, 2> open{true, true};  // whether stdout, stderr may still bring something
    RankEnd end;
  };
  // Once a rank has failed: let the others fail of themselves, then SIGTERM, then SIGKILL.
  enum class Phase { kRunning, kLettingFail, kTerminating, kKilling };

  void start_rank(int64_t local_rank, int64_t master_port, int64_t num_cores);
  bool any_running() const;

  void wait();
  size_t read_output(Rank& rank, Stream stream);
  void write_output(OutputQueue& queue);
  void flush();

  void on_signal(int signal);
  void update_ranks();
  void on_end(Rank& rank);
  void follow_deadline();
  void terminate_others();
  void kill_others();

  void note(std::string_view text) { err_.push("titan launch: ", text); }
  int report();

  const LaunchOptions& options_;
  // In this order: the warden must hold no pipe of a rank, and no change of a rank may be missed.
  SignalInbox inbox_;
  Warden warden_;
  OutputQueue out_, err_;
  const bool one_target_;  // stdout and stderr are the same file or terminal
  std::unique_ptr<ReservedPort> port_;
  std::vector<std::unique_ptr<Rank>> ranks_;

  Phase phase_ = Phase::kRunning;
  std::optional<Clock::time_point> deadline_;  // of the phase
  int64_t num_ended_ = 0;
  int passed_on_ = 0;  // the signal that asked the ranks to stop; 0: none
  bool child_changed_ = false;
  bool killed_by_user_ = false, output_broken_ = false;
};

Launcher::Launcher(const LaunchOptions& options)
    : options_(options),
      out_(options.stdout_fd),
      err_(options.stderr_fd),
      one_target_(same_file(options.stdout_fd, options.stderr_fd)) {
  if (options.master_port == 0) port_ = std::make_unique<ReservedPort>();
  const int64_t master_port = port_ != nullptr ? port_->port() : options.master_port;
  const int64_t num_cores = num_usable_cores();
  for (int64_t i = 0; i < options.nproc_per_node; ++i) start_rank(i, master_port, num_cores);
}

void Launcher::start_rank(int64_t local_rank, int64_t master_port, int64_t num_cores) {
  const int64_t rank = options_.node_rank * options_.nproc_per_node + local_rank;
  const auto& filter = options_.shown_local_ranks;
  const bool shown = !filter.has_value() || std::find(filter->begin(), filter->end(), local_rank) != filter->end();
  ranks_.push_back(std::unique_ptr<Rank>(
      new Rank{.rank = rank,
               .process{options_.command, rank_environment(options_, local_rank, master_port, num_cores)},
               .output{rank, shown, options_.log_dir, out_, err_}}));
  warden_.guard(ranks_.back()->process.pid());
}

bool Launcher::any_running() const {
  return std::any_of(ranks_.begin(), ranks_.end(),
                     [](const auto& rank) { return rank->process.state() != RankProcess::State::kEnded; });
}

int Launcher::run() {
  while (any_running()) {
    wait();
    for (const int signal : inbox_.take()) on_signal(signal);
    if (child_changed_) update_ranks();
    follow_deadline();
  }
  const int exit_code = report();
  flush();
  return exit_code;
}

// Sleeps until something is to be read, written, or done, then reads and writes.
void Launcher::wait() {
  std::vector<pollfd> entries{{inbox_.fd(), POLLIN, 0}};
  const auto add_queue = [&](const OutputQueue& queue, const OutputQueue& other) {
    const bool wants = !queue.empty() && !(one_target_ && other.inside_line());
    entries.push_back({wants ? queue.fd() : -1, POLLOUT, 0});  // poll passes over fd -1
  };
  add_queue(out_, err_);
  add_queue(err_, out_);
  for (const auto& rank : ranks_) {
    for (const Stream stream : {Stream::kStdout, Stream::kStderr}) {
      const auto index = static_cast<size_t>(stream);
      const OutputQueue& queue = stream == Stream::kStdout ? out_ : err_;
      const bool wants = rank->open[index] && !(rank->output.shown() && queue.full());
      entries.push_back({wants ? rank->process.output_fds()[index] : -1, POLLIN, 0});
    }
  }
  int timeout_ms = -1;
  if (deadline_.has_value()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline_ - Clock::now()).count();
    timeout_ms = static_cast<int>(std::clamp<int64_t>(left, 0, INT_MAX));
  }
  const int num_ready = poll(entries.data(), entries.size(), timeout_ms);
  TORCH_CHECK(num_ready >= 0 || errno == EINTR, "poll: ", std::strerror(errno));
  if (num_ready <= 0) return;

  if (entries[1].revents != 0) write_output(out_);
  if (entries[2].revents != 0) write_output(err_);
  for (size_t i = 3; i < entries.size(); ++i) {
    if (entries[i].revents != 0) read_output(*ranks_[(i - 3) / 2], static_cast<Stream>((i - 3) % 2));
  }
}

// One piece of what is there, so that a rank that writes without end does not keep the others waiting. Returns its
// size.
size_t Launcher::read_output(Rank& rank, Stream stream) {
  const auto index = static_cast<size_t>(stream);
  std::array<char, 1 << 16> buffer;
  const ssize_t size = read(rank.process.output_fds()[index], buffer.data(), buffer.size());
  if (size > 0) {
    rank.output.add(stream, {buffer.data(), static_cast<size_t>(size)});
  } else if (size == 0 || (errno != EINTR && errno != EAGAIN)) {
    rank.open[index] = false;
  }
  return size > 0 ? static_cast<size_t>(size) : 0;
}

void Launcher::write_output(OutputQueue& queue) {
  if (queue.write_some() || output_broken_) return;
  output_broken_ = true;
  note(fmt::format("cannot write to {}: {}; the ranks are ended", &queue == &out_ ? "stdout" : "stderr",
                   std::strerror(errno)));
  if (phase_ == Phase::kRunning) terminate_others();
}

void Launcher::flush() {
  deadline_.reset();
  while (!out_.empty() || !err_.empty()) {
    wait();
    for (const int signal : inbox_.take()) {
      if (signal != SIGCHLD && signal != SIGUSR1) return;  // whoever reads does not, and the user gave up
    }
  }
}

void Launcher::on_signal(int signal) {
  if (signal == SIGCHLD) {
    child_changed_ = true;
  } else if (signal == SIGUSR1) {
    for (const auto& rank : ranks_) rank->process.send(SIGUSR1);  // a wish for dumps, no more
  } else if (phase_ != Phase::kRunning || passed_on_ != 0) {
    if (signal != SIGINT) return;  // it is on its way; several senders of one SIGTERM are usual
    note("another SIGINT: the ranks are killed");
    killed_by_user_ = true;
    kill_others();
  } else {
    passed_on_ = signal == SIGHUP ? SIGTERM : signal;
    note(signal_name(signal) + ": passed on to all ranks, which finish their step and save; SIGINT kills them");
    for (const auto& rank : ranks_) rank->process.send(passed_on_);
  }
}

void Launcher::update_ranks() {
  child_changed_ = false;
  std::vector<Rank*> ended;
  for (const auto& rank : ranks_) {
    const RankProcess::State before = rank->process.state(), now = rank->process.update();
    if (now == before) continue;
    if (now == RankProcess::State::kEnded) {
      ended.push_back(rank.get());
    } else if (now == RankProcess::State::kStopped) {
      note(fmt::format("rank {} stands still, stopped by {}: the others will wait for it", rank->rank,
                       signal_name(rank->process.stop_signal())));
    } else {
      note(fmt::format("rank {} goes on", rank->rank));
    }
  }
  // Of those seen at once, a signal is rather the cause, an exit code the consequence.
  std::stable_partition(ended.begin(), ended.end(), [](const Rank* r) { return r->process.ending().signal != 0; });
  for (Rank* rank : ended) on_end(*rank);
}

void Launcher::on_end(Rank& rank) {
  warden_.release(rank.process.pid());
  for (const Stream stream : {Stream::kStdout, Stream::kStderr}) {
    // What the process wrote is in the pipe by now; somebody else who has the pipe open is not waited for.
    const auto index = static_cast<size_t>(stream);
    int num_left = 0;
    ioctl(rank.process.output_fds()[index], FIONREAD, &num_left);
    while (rank.open[index] && num_left > 0) num_left -= static_cast<int>(read_output(rank, stream));
    rank.open[index] = false;
  }
  rank.output.finish();
  rank.end.rank = rank.rank;
  rank.end.order = num_ended_++;
  rank.end.ending = rank.process.ending();
  rank.end.first_error = rank.output.first_error();
  if (!rank.end.ending.failed() || phase_ != Phase::kRunning) return;

  phase_ = Phase::kLettingFail;
  deadline_ = Clock::now() + options_.time_to_fail;
  for (const auto& other : ranks_) {
    if (other->process.state() == RankProcess::State::kStopped) other->end.stopped_by = other->process.stop_signal();
  }
}

void Launcher::follow_deadline() {
  if (phase_ == Phase::kRunning || phase_ == Phase::kKilling) return;
  const bool all_stand_still = std::all_of(ranks_.begin(), ranks_.end(), [](const auto& rank) {
    return rank->process.state() != RankProcess::State::kRunning;
  });
  if (all_stand_still) return kill_others();  // who stands still neither fails nor obeys
  if (Clock::now() < *deadline_) return;
  if (phase_ == Phase::kLettingFail) return terminate_others();
  kill_others();
}

void Launcher::terminate_others() {
  phase_ = Phase::kTerminating;
  deadline_ = Clock::now() + options_.time_to_terminate;
  for (const auto& rank : ranks_) {
    if (rank->process.state() == RankProcess::State::kEnded) continue;
    rank->end.told_to_end = true;
    rank->process.send_to_group(SIGTERM);
  }
}

void Launcher::kill_others() {
  phase_ = Phase::kKilling;
  deadline_.reset();
  for (const auto& rank : ranks_) {
    if (rank->process.state() == RankProcess::State::kEnded) continue;
    rank->end.told_to_end = true;
    rank->process.send_to_group(SIGKILL);
  }
}

// Says what there is to say about failures, the errors of hidden ranks first. Returns the exit code.
int Launcher::report() {
  std::vector<RankEnd> ends;
  for (const auto& rank : ranks_) ends.push_back(rank->end);
  if (killed_by_user_ || output_broken_) return 1;

  // Ranks often fail with the same words; once is enough.
  std::set<std::deque<std::string>> said;
  for (const auto& rank : ranks_) {
    if (rank->output.shown()) said.insert(rank->output.last_stderr());
  }
  for (const RankEnd& end : failed_by_themselves(ends)) {
    const auto& rank = *ranks_[static_cast<size_t>(end.rank - options_.node_rank * options_.nproc_per_node)];
    if (rank.output.shown() || !said.insert(rank.output.last_stderr()).second) continue;
    for (const std::string& line : rank.output.last_stderr()) err_.push(rank.output.prefix(), line);
  }
  for (const std::string& line : failure_lines(ends)) note(line);
  return exit_code_of(ends);
}

}  // namespace

void check(const LaunchOptions& options) {
  TORCH_CHECK_VALUE(1 <= options.nproc_per_node && options.nproc_per_node <= kMaxRanks,
                    "--nproc-per-node: expected 1 to ", kMaxRanks, " ranks, got ", options.nproc_per_node);
  TORCH_CHECK_VALUE(options.num_nodes >= 1, "--nnodes: expected 1 or more machines, got ", options.num_nodes);
  TORCH_CHECK_VALUE(0 <= options.node_rank && options.node_rank < options.num_nodes, "--node-rank: expected 0 to ",
                    options.num_nodes - 1, " (--nnodes ", options.num_nodes, "), got ", options.node_rank);
  TORCH_CHECK_VALUE(options.num_nodes == 1 || options.master_port != 0, "--rdzv-endpoint: needed with --nnodes ",
                    options.num_nodes,
                    "; give HOST:PORT of a free port on the machine of node rank 0, the same on all machines");
  TORCH_CHECK_VALUE(0 <= options.master_port && options.master_port <= 65535,
                    "--rdzv-endpoint: expected a port from 1 to 65535, got ", options.master_port);
  TORCH_INTERNAL_ASSERT(!options.command.empty() && options.command[0].starts_with("/"), "command: no absolute path");
}

int launch_ranks(const LaunchOptions& options) {
  check(options);
  open_standard_streams();
  return Launcher(options).run();
}

std::string own_program() {
  // A path where there is one, so that ranks have the program's name; the link itself works for a replaced file too.
  std::error_code error;
  const std::filesystem::path path = std::filesystem::read_symlink("/proc/self/exe", error);
  return !error && std::filesystem::exists(path, error) ? path.string() : "/proc/self/exe";
}

}  // namespace titan::launch
