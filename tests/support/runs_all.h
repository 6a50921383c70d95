// Tests that take minutes run where they are asked for.
#pragma once

#include <cstdlib>

namespace titan::test {

// Whether `run_tests.sh --all` asked for what takes minutes.
inline bool runs_all() { return std::getenv("TITAN_TEST_ALL") != nullptr; }

}  // namespace titan::test
