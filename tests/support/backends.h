// The backends on which every distributed suite runs: TEST_P suites with a BackendCase as their parameter, instantiated
// as INSTANTIATE_TEST_SUITE_P(Backends, Suite, testing::ValuesIn(test::on_every_backend({1, 2, 3})), test::case_name).
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

namespace titan::test {

struct BackendCase {
  std::string backend;
  int64_t num_ranks;
};

inline std::vector<BackendCase> on_every_backend(const std::vector<int64_t>& nums_of_ranks) {
  std::vector<BackendCase> cases;
  for (const char* const backend : {"gloo", "shm"}) {
    for (const int64_t num_ranks : nums_of_ranks) cases.push_back({backend, num_ranks});
  }
  return cases;
}

// And over staged_backend.h, which here stages between CPU and CPU.
inline std::vector<BackendCase> on_every_backend_and_staged(const std::vector<int64_t>& nums_of_ranks) {
  std::vector<BackendCase> cases = on_every_backend(nums_of_ranks);
  cases.push_back({"staged", nums_of_ranks.back()});
  return cases;
}

// "shm_3"; how gtest shows a case, and how it names one.
inline std::ostream& operator<<(std::ostream& stream, const BackendCase& a_case) {
  return stream << a_case.backend << "_" << a_case.num_ranks;
}
inline std::string case_name(const testing::TestParamInfo<BackendCase>& info) {
  return info.param.backend + "_" + std::to_string(info.param.num_ranks);
}

}  // namespace titan::test
