// The names that file formats give to dtypes: safetensors ("BF16"), torch.dtype ("bfloat16") and torch's typed storages
// ("BFloat16Storage"). Only dtypes that libtorch has and whose elements fill whole bytes.
#pragma once

#include <c10/core/ScalarType.h>

#include <optional>
#include <string_view>

namespace titan::checkpoint {

std::optional<c10::ScalarType> dtype_of_safetensors(std::string_view name);
std::optional<c10::ScalarType> dtype_of_torch(std::string_view name);
std::optional<c10::ScalarType> dtype_of_storage(std::string_view name);

// Throws c10::ValueError for a dtype that safetensors cannot hold.
std::string_view safetensors_name(c10::ScalarType dtype);

// "float32"; libtorch's own name for a dtype outside the table.
std::string_view torch_name(c10::ScalarType dtype);

// Nothing for a dtype that has no typed storage.
std::optional<std::string_view> storage_name(c10::ScalarType dtype);

}  // namespace titan::checkpoint
