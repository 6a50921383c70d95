#include "titan/distributed/shm/process.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>

namespace titan::distributed::shm {
namespace {

struct Status {
  char state;
  uint64_t start_time;
};

// Out of /proc/<pid>/stat: fields 3 and 22. The name, field 2, may hold anything, also spaces and parentheses.
std::optional<Status> status_of(int64_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const size_t end_of_name = text.rfind(')');
  if (end_of_name == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(end_of_name + 1));
  Status status{};
  fields >> status.state;
  std::string skipped;
  for (int field = 4; field < 22; ++field) fields >> skipped;
  if (!(fields >> status.start_time)) return std::nullopt;
  return status;
}

}  // namespace

Process Process::self() {
  const auto status = status_of(getpid());
  TORCH_CHECK(status.has_value(), "/proc/", getpid(), "/stat cannot be read");
  return {getpid(), status->start_time};
}

bool Process::runs() const {
  const auto status = status_of(pid);
  return status.has_value() && status->start_time == start_time && status->state != 'Z' && status->state != 'X';
}

}  // namespace titan::distributed::shm
