#include "titan/train/stop_request.h"

#include <fmt/format.h>
#include <signal.h>

#include <ctime>

namespace titan::train {
namespace {

// What a signal handler may write to.
volatile sig_atomic_t caught_signal = 0;
volatile sig_atomic_t caught_second = 0;  // when, by the monotonic clock

void handle(int signal) {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  if (caught_signal == 0) {
    caught_signal = signal;
    caught_second = static_cast<sig_atomic_t>(now.tv_sec);
  } else if (now.tv_sec - caught_second > 1) {
    ::signal(signal, SIG_DFL);
    raise(signal);
  }
}

void install() {
  struct sigaction action {};
  action.sa_handler = handle;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

}  // namespace

StopRequest::StopRequest(std::optional<double> max_seconds) : max_seconds_(max_seconds) {
  caught_signal = 0;
  install();
}

StopRequest::~StopRequest() {
  signal(SIGINT, SIG_DFL);
  signal(SIGTERM, SIG_DFL);
}

std::optional<std::string> StopRequest::reason() const {
  if (caught_signal == SIGINT) return "SIGINT";
  if (caught_signal == SIGTERM) return "SIGTERM";
  const std::chrono::duration<double> running = std::chrono::steady_clock::now() - start_;
  if (max_seconds_.has_value() && running.count() >= *max_seconds_) {
    return fmt::format("training.max_seconds ({}) are over", *max_seconds_);
  }
  return std::nullopt;
}

}  // namespace titan::train
