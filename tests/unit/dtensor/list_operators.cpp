// Prints docs/dtensor_ops.md.
#include <cstdio>

#include "titan/dtensor/operator_list.h"

int main() {
  std::fputs(titan::dtensor::operator_list().c_str(), stdout);
  return 0;
}
