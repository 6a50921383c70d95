// What is still done when the program ends by std::terminate: an exception on a thread that nobody catches. Gloo ends
// so when a message is longer than the receiver awaits; without this, that rank would leave no dump.
#pragma once

#include <functional>
#include <memory>
#include <string>

namespace titan::distributed::recorder {

// While it lives, `action` is called when the program terminates, on the thread that ended it, with the exception's
// first line. Whatever handler there was comes after. Exceptions of the action are lost.
class LastWords {
 public:
  explicit LastWords(std::function<void(const std::string& reason)> action);
  ~LastWords();
  LastWords(const LastWords&) = delete;
  LastWords& operator=(const LastWords&) = delete;

 private:
  std::function<void(const std::string& reason)> action_;
};

}  // namespace titan::distributed::recorder
