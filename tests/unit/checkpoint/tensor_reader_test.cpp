#include "titan/checkpoint/tensor_reader.h"

#include <gtest/gtest.h>

#include "tests/unit/checkpoint/expect_refused.h"
#include "tests/unit/checkpoint/temp_folder.h"

namespace titan::checkpoint {
namespace {

TEST(OpenTensors, TellsFormatsByContent) {
  EXPECT_TRUE(open_tensors(golden("dcp_sharded"))->tensors().contains("rows"));
  EXPECT_TRUE(open_tensors(golden("sharded.safetensors"))->tensors().contains("rows"));

  const TempFolder folder;
  std::filesystem::copy_file(golden("sharded.safetensors"), folder / "model.safetensors");
  EXPECT_TRUE(open_tensors(folder.path())->tensors().contains("rows"));

  // The name of a single file says nothing.
  std::filesystem::copy_file(golden("sharded.safetensors"), folder / "weights.bin");
  EXPECT_TRUE(open_tensors(folder / "weights.bin")->tensors().contains("rows"));
}

TEST(OpenTensors, RefusesWhatIsNeither) {
  const TempFolder folder;
  expect_refused([&] { open_tensors(folder.path()); }, "expected a PyTorch DCP folder (with .metadata)");
  expect_refused([&] { open_tensors(folder / "absent"); }, "does not exist");
  write_bytes(folder / "text", "no tensors in this text file");
  expect_refused([&] { open_tensors(folder / "text"); }, "is this a safetensors file?");
}

}  // namespace
}  // namespace titan::checkpoint
