#include "titan/checkpoint/tensor_reader.h"

#include <c10/util/Exception.h>

#include "titan/checkpoint/dcp_reader.h"
#include "titan/checkpoint/safetensors_reader.h"

namespace titan::checkpoint {

void TensorReader::read_into(const std::string& name, const Box& box, const at::Tensor& to) const {
  to.copy_(view_of(read(name), box));
}

std::unique_ptr<TensorReader> open_tensors(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  TORCH_CHECK_VALUE(fs::exists(path), path.string(), ": does not exist");
  if (fs::exists(path / ".metadata")) return std::make_unique<DcpReader>(path);
  const bool sharded = fs::exists(path / "model.safetensors.index.json") || fs::exists(path / "model.safetensors");
  if (sharded || fs::is_regular_file(path)) return std::make_unique<SafetensorsReader>(path);
  TORCH_CHECK_VALUE(false, path.string(),
                    ": expected a PyTorch DCP folder (with .metadata), a folder with model.safetensors or "
                    "model.safetensors.index.json, or a .safetensors file");
}

}  // namespace titan::checkpoint
