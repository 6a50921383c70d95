#include "titan/distributed/shm/reduce.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Exception.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <array>
#include <type_traits>

namespace titan::distributed::shm {
namespace {

template <class T>
bool is_nan(T x) {
  if constexpr (std::is_floating_point_v<T>) return x != x;
  return false;
}

template <ReduceOp op, class T>
T combine(T a, T b) {
  if constexpr (op == ReduceOp::kMax) return a > b || is_nan(a) ? a : b;
  if constexpr (op == ReduceOp::kMin) return a < b || is_nan(a) ? a : b;
  if constexpr (std::is_integral_v<T>) {
    using Unsigned = std::make_unsigned_t<T>;  // wraps around, as at::add does
    return static_cast<T>(static_cast<Unsigned>(static_cast<Unsigned>(a) + static_cast<Unsigned>(b)));
  }
  return a + b;
}

// What numbers of type T are added up in.
template <class T>
using Sum = std::conditional_t<sizeof(T) == 2 && !std::is_integral_v<T>, float, T>;

// Block by block, so that the sums stay in the first-level cache while every rank's block is added.
template <ReduceOp op, class T>
void reduce(std::byte* output, const std::vector<const std::byte*>& inputs, int64_t bytes) {
  constexpr int64_t kBlock = 1024;
  const int64_t num_elements = bytes / static_cast<int64_t>(sizeof(T));
  std::array<Sum<T>, kBlock> sums;
  for (int64_t begin = 0; begin < num_elements; begin += kBlock) {
    const int64_t size = std::min(kBlock, num_elements - begin);
    const auto block = [&](size_t rank) { return reinterpret_cast<const T*>(inputs[rank]) + begin; };
    const T* const first = block(0);
    for (int64_t i = 0; i < size; ++i) sums[i] = static_cast<Sum<T>>(first[i]);
    for (size_t rank = 1; rank < inputs.size(); ++rank) {
      const T* const x = block(rank);
      for (int64_t i = 0; i < size; ++i) sums[i] = combine<op>(sums[i], static_cast<Sum<T>>(x[i]));
    }
    T* const to = reinterpret_cast<T*>(output) + begin;
    for (int64_t i = 0; i < size; ++i) to[i] = static_cast<T>(sums[i]);
  }
}

template <class T>
auto choose(ReduceOp op) {
  switch (op) {
    case ReduceOp::kMax:
      return reduce<ReduceOp::kMax, T>;
    case ReduceOp::kMin:
      return reduce<ReduceOp::kMin, T>;
    default:
      return reduce<ReduceOp::kSum, T>;
  }
}

}  // namespace

Reducer::Reducer(ReduceOp op, c10::ScalarType dtype) : function_(nullptr) {
  TORCH_CHECK_VALUE(op != ReduceOp::kAvg, "shm: expected a sum, maximum or minimum, got an average");
  switch (dtype) {
    case c10::ScalarType::Float:
      function_ = choose<float>(op);
      break;
    case c10::ScalarType::Double:
      function_ = choose<double>(op);
      break;
    case c10::ScalarType::Half:
      function_ = choose<c10::Half>(op);
      break;
    case c10::ScalarType::BFloat16:
      function_ = choose<c10::BFloat16>(op);
      break;
    case c10::ScalarType::Long:
      function_ = choose<int64_t>(op);
      break;
    case c10::ScalarType::Int:
      function_ = choose<int32_t>(op);
      break;
    case c10::ScalarType::Short:
      function_ = choose<int16_t>(op);
      break;
    case c10::ScalarType::Char:
      function_ = choose<int8_t>(op);
      break;
    case c10::ScalarType::Byte:
      function_ = choose<uint8_t>(op);
      break;
    case c10::ScalarType::Bool:
      if (op != ReduceOp::kSum) function_ = choose<uint8_t>(op);
      break;
    case c10::ScalarType::ComplexFloat:
      if (op == ReduceOp::kSum) function_ = choose<float>(op);
      break;
    case c10::ScalarType::ComplexDouble:
      if (op == ReduceOp::kSum) function_ = choose<double>(op);
      break;
    default:
      break;
  }
  TORCH_CHECK_VALUE(function_ != nullptr, "shm: expected a dtype that has this reduction, got ", dtype);
}

}  // namespace titan::distributed::shm
