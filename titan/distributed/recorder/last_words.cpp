#include "titan/distributed/recorder/last_words.h"

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <vector>

namespace titan::distributed::recorder {
namespace {

// A terminate handler has nothing but globals.
struct Registry {
  std::mutex mutex;
  std::vector<const std::function<void(const std::string&)>*> actions;
  std::terminate_handler previous = nullptr;
};

// Never destroyed: threads may end the program while it exits.
Registry& registry() {
  static auto* const instance = new Registry;
  return *instance;
}

std::string current_reason() {
  try {
    if (const std::exception_ptr error = std::current_exception()) std::rethrow_exception(error);
  } catch (const std::exception& error) {
    const std::string text = error.what();
    return text.substr(0, text.find('\n'));
  } catch (...) {
  }
  return "";
}

[[noreturn]] void say_them() {
  Registry& all = registry();
  const std::string reason = current_reason();
  // A second thread that fails meanwhile must not end the program before the first is through; it waits here.
  all.mutex.lock();
  for (const auto* action : all.actions) {
    try {
      (*action)(reason);
    } catch (...) {
    }
  }
  if (all.previous != nullptr) all.previous();
  std::abort();
}

}  // namespace

LastWords::LastWords(std::function<void(const std::string& reason)> action) : action_(std::move(action)) {
  Registry& all = registry();
  const std::scoped_lock lock(all.mutex);
  if (all.previous == nullptr) all.previous = std::set_terminate(say_them);
  all.actions.push_back(&action_);
}

LastWords::~LastWords() {
  Registry& all = registry();
  const std::scoped_lock lock(all.mutex);
  std::erase(all.actions, &action_);
}

}  // namespace titan::distributed::recorder
