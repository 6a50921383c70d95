#include "titan/checkpoint/safetensors_writer.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "tests/unit/checkpoint/expect_refused.h"
#include "tests/unit/checkpoint/temp_folder.h"
#include "titan/checkpoint/manifest.h"
#include "titan/checkpoint/safetensors_reader.h"

namespace titan::checkpoint {
namespace {

using Tensors = std::map<std::string, at::Tensor>;

std::map<std::string, TensorInfo> infos_of(const Tensors& tensors) {
  std::map<std::string, TensorInfo> infos;
  for (const auto& [name, tensor] : tensors) infos.emplace(name, info_of(tensor));
  return infos;
}

TensorSource source_of(const Tensors& tensors) {
  return [&tensors](const std::string& name) { return tensors.at(name); };
}

TEST(SafetensorsWriter, WritesWhatIsReadBack) {
  const TempFolder folder;
  const auto values = at::arange(15, c10::kFloat).view({3, 5});
  const Tensors tensors = {{"bool", values.gt(7)},
                           {"bytes", values.to(c10::kByte)},
                           {"bf16", values.to(c10::kBFloat16)},
                           {"complex", values.to(c10::kComplexFloat)},
                           {"double", values.to(c10::kDouble)},
                           {"empty", at::zeros({0, 3})},
                           {"fp8", values.to(c10::kFloat8_e4m3fn)},
                           {"scalar", at::ones({})},
                           {"transposed", values.t()},
                           {"with \"quotes\" and \xC3\xBC", values}};
  const auto written = write_safetensors(folder / "x.safetensors", infos_of(tensors), source_of(tensors));
  EXPECT_EQ(written.num_bytes, std::filesystem::file_size(folder / "x.safetensors"));
  check_contents(folder.path(), {.step = 0, .contents = "model", .files = {written}});

  const SafetensorsReader reader(folder / "x.safetensors");
  EXPECT_EQ(reader.tensors(), infos_of(tensors));
  EXPECT_EQ(reader.metadata().at("format"), "pt");
  for (const auto& [name, tensor] : tensors) {
    const auto read = reader.read(name);
    const bool same = tensor.scalar_type() == c10::kFloat8_e4m3fn
                          ? at::equal(read.to(c10::kFloat), tensor.to(c10::kFloat))
                          : at::equal(read, tensor);
    EXPECT_TRUE(same) << name;
  }
}

TEST(SafetensorsWriter, AlignsEveryTensor) {
  const TempFolder folder;
  const Tensors tensors = {{"a", at::ones({3}, c10::kByte)},
                           {"b", at::ones({3}, c10::kDouble)},
                           {"c", at::ones({1}, c10::kHalf)},
                           {"d", at::ones({5})}};
  write_safetensors(folder / "x.safetensors", infos_of(tensors), source_of(tensors));
  const SafetensorsReader reader(folder / "x.safetensors");
  for (const auto& [name, tensor] : tensors) {
    const auto address = reinterpret_cast<uintptr_t>(reader.read(name).const_data_ptr());
    EXPECT_EQ(address % tensor.element_size(), 0u) << name;
  }
  const auto header = read_bytes(folder / "x.safetensors").substr(8);
  EXPECT_LT(header.find("\"b\""), header.find("\"d\""));  // by element size, not by name
  EXPECT_LT(header.find("\"c\""), header.find("\"a\""));
}

TEST(SafetensorsWriter, LeavesTheOldFileWhereWritingFails) {
  const TempFolder folder;
  const Tensors tensors = {{"a", at::ones({3})}};
  write_safetensors(folder / "x.safetensors", infos_of(tensors), source_of(tensors));
  const auto before = read_bytes(folder / "x.safetensors");
  const auto fails = [](const std::string&) -> at::Tensor { TORCH_CHECK(false, "no tensor"); };
  EXPECT_THROW(write_safetensors(folder / "x.safetensors", infos_of(tensors), fails), c10::Error);
  EXPECT_EQ(read_bytes(folder / "x.safetensors"), before);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);  // no leftover
  EXPECT_THROW(write_safetensors(folder / "absent" / "x.safetensors", {}, fails), c10::Error);
}

TEST(SafetensorsWriter, RefusesDtypesThatTheFormatLacks) {
  const TempFolder folder;
  const Tensors tensors = {{"a", at::ones({3}, c10::kComplexDouble)}};
  expect_refused([&] { write_safetensors(folder / "x.safetensors", infos_of(tensors), source_of(tensors)); },
                 "cannot hold dtype ComplexDouble");
}

TEST(SafetensorsWriter, ShardsBySizeAndNeverSplitsATensor) {
  const TempFolder folder;
  Tensors tensors;
  for (int64_t i = 0; i < 7; ++i) tensors["layers." + std::to_string(i)] = at::arange(10, c10::kFloat).add(i);
  tensors["large"] = at::ones({100});  // alone over the limit
  const auto written = write_safetensors_folder(folder.path(), infos_of(tensors), source_of(tensors), 120);
  // "large" (400 bytes), then 7 tensors of 40 bytes, 3 a file.
  ASSERT_EQ(written.size(), 5u);
  EXPECT_EQ(written[0].name, "model-00001-of-00004.safetensors");
  EXPECT_EQ(written[4].name, "model.safetensors.index.json");
  const SafetensorsReader reader(folder.path());
  EXPECT_EQ(reader.tensors(), infos_of(tensors));
  for (const auto& [name, tensor] : tensors) EXPECT_TRUE(at::equal(reader.read(name), tensor)) << name;

  const auto index = nlohmann::json::parse(read_bytes(folder / "model.safetensors.index.json"));
  EXPECT_EQ(index["metadata"]["total_size"], 400 + 7 * 40);
  EXPECT_EQ(index["weight_map"]["layers.6"], "model-00004-of-00004.safetensors");
}

TEST(SafetensorsWriter, WritesOneFileWhereAllFits) {
  const TempFolder folder;
  const Tensors tensors = {{"a", at::ones({3})}, {"b", at::zeros({3})}};
  const auto written = write_safetensors_folder(folder.path(), infos_of(tensors), source_of(tensors), 24);
  ASSERT_EQ(written.size(), 1u);
  EXPECT_EQ(written[0].name, "model.safetensors");
  EXPECT_EQ(SafetensorsReader(folder.path()).tensors().size(), 2u);
}

}  // namespace
}  // namespace titan::checkpoint
