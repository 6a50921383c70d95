#include "titan/checkpoint/dtype_names.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <array>

namespace titan::checkpoint {
namespace {

using c10::ScalarType;

struct Names {
  ScalarType dtype;
  std::string_view safetensors, torch, storage;  // empty: the format has no such dtype
};

constexpr std::array kNames = {
    Names{ScalarType::Float, "F32", "float32", "FloatStorage"},
    Names{ScalarType::BFloat16, "BF16", "bfloat16", "BFloat16Storage"},
    Names{ScalarType::Half, "F16", "float16", "HalfStorage"},
    Names{ScalarType::Double, "F64", "float64", "DoubleStorage"},
    Names{ScalarType::Long, "I64", "int64", "LongStorage"},
    Names{ScalarType::Int, "I32", "int32", "IntStorage"},
    Names{ScalarType::Short, "I16", "int16", "ShortStorage"},
    Names{ScalarType::Char, "I8", "int8", "CharStorage"},
    Names{ScalarType::Byte, "U8", "uint8", "ByteStorage"},
    Names{ScalarType::UInt16, "U16", "uint16", ""},
    Names{ScalarType::UInt32, "U32", "uint32", ""},
    Names{ScalarType::UInt64, "U64", "uint64", ""},
    Names{ScalarType::Bool, "BOOL", "bool", "BoolStorage"},
    Names{ScalarType::ComplexFloat, "C64", "complex64", "ComplexFloatStorage"},
    Names{ScalarType::ComplexDouble, "", "complex128", "ComplexDoubleStorage"},
    Names{ScalarType::Float8_e4m3fn, "F8_E4M3", "float8_e4m3fn", ""},
    Names{ScalarType::Float8_e5m2, "F8_E5M2", "float8_e5m2", ""},
    Names{ScalarType::Float8_e8m0fnu, "F8_E8M0", "float8_e8m0fnu", ""},
    Names{ScalarType::Float8_e4m3fnuz, "", "float8_e4m3fnuz", ""},
    Names{ScalarType::Float8_e5m2fnuz, "", "float8_e5m2fnuz", ""},
};

std::optional<ScalarType> find(std::string_view Names::*column, std::string_view name) {
  const auto found = std::find_if(kNames.begin(), kNames.end(), [&](const Names& row) { return row.*column == name; });
  if (name.empty() || found == kNames.end()) return std::nullopt;
  return found->dtype;
}

}  // namespace

std::optional<ScalarType> dtype_of_safetensors(std::string_view name) { return find(&Names::safetensors, name); }
std::optional<ScalarType> dtype_of_torch(std::string_view name) { return find(&Names::torch, name); }
std::optional<ScalarType> dtype_of_storage(std::string_view name) { return find(&Names::storage, name); }

std::string_view safetensors_name(ScalarType dtype) {
  for (const Names& row : kNames) {
    if (row.dtype == dtype && !row.safetensors.empty()) return row.safetensors;
  }
  TORCH_CHECK_VALUE(false, "safetensors: cannot hold dtype ", c10::toString(dtype), "; convert the tensor first");
}

std::string_view torch_name(ScalarType dtype) {
  for (const Names& row : kNames) {
    if (row.dtype == dtype) return row.torch;
  }
  return c10::toString(dtype);
}

std::optional<std::string_view> storage_name(ScalarType dtype) {
  for (const Names& row : kNames) {
    if (row.dtype == dtype && !row.storage.empty()) return row.storage;
  }
  return std::nullopt;
}

}  // namespace titan::checkpoint
