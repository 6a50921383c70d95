#include "titan/kernels/cpu/loops.h"

#include <ATen/Version.h>
#include <gtest/gtest.h>

#include <cctype>
#include <cstdlib>
#include <string>

namespace titan::kernels::cpu {
namespace {

// CTest runs these programs once for each value.
TEST(Loops, AreThoseThatTheEnvironmentRestrictsTo) {
  const char* const restriction = std::getenv("ATEN_CPU_CAPABILITY");
  if (restriction == nullptr) GTEST_SKIP() << "ATEN_CPU_CAPABILITY is not set";
  const std::string name = restriction;
  const Capability expected = name == "avx512" ? Capability::kAvx512
                              : name == "avx2" ? Capability::kAvx2
                                               : Capability::kDefault;
  EXPECT_EQ(capability(), expected);
}

}  // namespace
}  // namespace titan::kernels::cpu
