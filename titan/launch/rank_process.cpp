#include "titan/launch/rank_process.h"

#include <c10/util/Exception.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace titan::launch {
namespace {

std::vector<char*> pointers_to(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

struct Pipe {
  int read_end = -1, write_end = -1;
  Pipe() {
    std::array<int, 2> ends{};
    TORCH_CHECK(pipe2(ends.data(), O_CLOEXEC) == 0, "cannot make a pipe: ", std::strerror(errno));
    read_end = ends[0];
    write_end = ends[1];
  }
  ~Pipe() {
    if (read_end >= 0) close(read_end);
    if (write_end >= 0) close(write_end);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  void close_write_end() { close(std::exchange(write_end, -1)); }
  int release_read_end() { return std::exchange(read_end, -1); }
};

// The new process, from fork to exec: only what is safe after a fork from a process with threads. Signals are blocked
// until their handlers, which belong to the launcher, are gone.
[[noreturn]] void become(char* const* arguments, char* const* environment, pid_t launcher, const Pipe& out,
                         const Pipe& err, const Pipe& exec_error) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != launcher) _exit(1);  // it ended before the line above
  for (const int signal : {SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGPIPE}) {
    struct sigaction action {};
    sigaction(signal, nullptr, &action);
    if (action.sa_handler == SIG_IGN) continue;  // as nohup wants it
    action.sa_handler = SIG_DFL;
    sigaction(signal, &action, nullptr);
  }
  const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (nothing >= 0) dup2(nothing, STDIN_FILENO);
  dup2(out.write_end, STDOUT_FILENO);
  dup2(err.write_end, STDERR_FILENO);
  sigset_t none;
  sigemptyset(&none);
  pthread_sigmask(SIG_SETMASK, &none, nullptr);
  execve(arguments[0], arguments, environment);
  const int error = errno;
  [[maybe_unused]] const ssize_t written = write(exec_error.write_end, &error, sizeof error);
  _exit(127);
}

}  // namespace

std::string signal_name(int signal) {
  const char* const name = sigabbrev_np(signal);
  return name != nullptr ? std::string("SIG") + name : "signal " + std::to_string(signal);
}

RankProcess::RankProcess(const std::vector<std::string>& command, const std::vector<std::string>& environment) {
  const std::vector<char*> arguments = pointers_to(command), variables = pointers_to(environment);
  Pipe out, err, exec_error;
  const pid_t launcher = getpid();

  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pid_ = fork();
  if (pid_ == 0) become(arguments.data(), variables.data(), launcher, out, err, exec_error);
  const int fork_error = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  TORCH_CHECK(pid_ > 0, "cannot start ", command[0], ": ", std::strerror(fork_error));
  setpgid(pid_, pid_);  // the child does it too; whoever comes first, it holds from here on

  // End of file when exec succeeds: the pipe closes then.
  exec_error.close_write_end();
  int error = 0;
  ssize_t size = 0;
  do size = read(exec_error.read_end, &error, sizeof error);
  while (size < 0 && errno == EINTR);
  if (size == sizeof error) {
    reap();
    TORCH_CHECK(false, "cannot start ", command[0], ": ", std::strerror(error));
  }
  output_fds_ = {out.release_read_end(), err.release_read_end()};
  for (const int fd : output_fds_) fcntl(fd, F_SETFL, O_NONBLOCK);
}

RankProcess::~RankProcess() {
  if (state_ != State::kEnded) {
    send_to_group(SIGKILL);
    reap();
  }
  for (const int fd : output_fds_) close(fd);
}

RankProcess::State RankProcess::update() {
  if (state_ == State::kEnded) return state_;
  while (true) {
    siginfo_t change{};
    if (waitid(P_PID, static_cast<id_t>(pid_), &change, WSTOPPED | WCONTINUED | WNOHANG) != 0) break;
    if (change.si_pid == 0) break;
    state_ = change.si_code == CLD_CONTINUED ? State::kRunning : State::kStopped;
    if (state_ == State::kStopped) stop_signal_ = change.si_status;
  }
  siginfo_t end{};
  if (waitid(P_PID, static_cast<id_t>(pid_), &end, WEXITED | WNOHANG | WNOWAIT) == 0 && end.si_pid != 0) {
    send_to_group(SIGKILL);  // before reaping: until then nobody else can get this number
    reap();
  }
  return state_;
}

void RankProcess::reap() {
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) {
    ending_.signal = WTERMSIG(status);
  } else {
    ending_.exit_code = WEXITSTATUS(status);
  }
  state_ = State::kEnded;
}

void RankProcess::send(int signal) const {
  if (state_ != State::kEnded) kill(pid_, signal);
}

void RankProcess::send_to_group(int signal) const {
  if (state_ != State::kEnded) kill(-pid_, signal);
}

}  // namespace titan::launch
