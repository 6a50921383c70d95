#include "titan/bench/process_age.h"

#include <c10/util/Exception.h>
#include <unistd.h>

#include <ctime>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>

namespace titan::bench {

double process_age_seconds() {
  std::ifstream file("/proc/self/stat");
  std::string text;
  std::getline(file, text);
  // proc(5): the 22nd word is the start in clock ticks after boot. The second is the program's name in parentheses,
  // which may hold anything; the third comes after the last ')'.
  std::istringstream words(text.substr(std::min(text.rfind(')'), text.size() - 1) + 1));
  std::string skipped;
  for (int word = 3; word < 22; ++word) words >> skipped;
  double ticks = 0;
  TORCH_CHECK(words >> ticks, "/proc/self/stat: expected the start time as the 22nd word");
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  const double since_boot = static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
  return since_boot - ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
}

}  // namespace titan::bench
