#include "titan/distributed/failure.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include "titan/distributed/heartbeat.h"

namespace titan::distributed {
namespace {

std::string first_line(const std::exception& error) {
  const auto* const torch_error = dynamic_cast<const c10::Error*>(&error);
  std::string line = torch_error != nullptr ? torch_error->what_without_backtrace() : error.what();
  line = line.substr(0, line.find('\n'));
  // Gloo starts with its source file.
  const size_t end = line.find("] ");
  return line.starts_with("[/") && end != std::string::npos ? line.substr(end + 2) : line;
}

}  // namespace

void throw_failure(const std::string& operation, const std::vector<int64_t>& ranks, int64_t rank,
                   std::chrono::steady_clock::time_point begin, Heartbeat* heartbeat, const std::exception& error) {
  const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - begin;
  const std::string blame = heartbeat != nullptr ? heartbeat->blame(operation, ranks) : "it failed";
  TORCH_CHECK(false, fmt::format("{}: {}; rank {} waited for {:.1f} s ({})", operation, blame, rank, waited.count(),
                                 first_line(error)));
}

}  // namespace titan::distributed
