// Bytes in, lines out.
#pragma once

#include <string>
#include <string_view>

namespace titan::launch {

class LineSplitter {
 public:
  // Calls take(line) for each line that `bytes` completes, without its newline. A line that grows beyond kMaxLine is
  // cut there, so that a program that never ends its line cannot eat the memory.
  template <class Take>
  void add(std::string_view bytes, Take&& take) {
    for (size_t end = bytes.find('\n'); end != std::string_view::npos; end = bytes.find('\n')) {
      if (begun_.empty()) {
        take(bytes.substr(0, end));
      } else {
        begun_ += bytes.substr(0, end);
        take(std::string_view(begun_));
        begun_.clear();
      }
      bytes.remove_prefix(end + 1);
    }
    begun_ += bytes;
    if (begun_.size() >= kMaxLine) finish(take);
  }

  // The last line, if it lacks its newline.
  template <class Take>
  void finish(Take&& take) {
    if (begun_.empty()) return;
    take(std::string_view(begun_));
    begun_ = {};
  }

  static constexpr size_t kMaxLine = size_t{16} << 20;

 private:
  std::string begun_;
};

}  // namespace titan::launch
