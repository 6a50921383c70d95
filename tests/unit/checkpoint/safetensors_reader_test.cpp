#include "titan/checkpoint/safetensors_reader.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <string_view>

#include "tests/unit/checkpoint/expect_refused.h"
#include "tests/unit/checkpoint/fast_errors.h"
#include "tests/unit/checkpoint/temp_folder.h"

namespace titan::checkpoint {
namespace {

std::string file_of(std::string_view header, std::string_view data) {
  const uint64_t size = header.size();
  std::string file(sizeof(size), '\0');
  std::memcpy(file.data(), &size, sizeof(size));
  return file.append(header).append(data);
}

// Two floats and three bytes.
constexpr std::string_view kHeader =
    R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[3,1],"data_offsets":[8,11]}})";
const std::string kData("\0\0\x80\x3f\0\0\0\x40\1\2\3", 11);

void expect_header_refused(std::string_view header, std::string_view data, const std::string& reason) {
  const TempFolder folder;
  write_bytes(folder / "x.safetensors", file_of(header, data));
  expect_refused([&] { SafetensorsReader(folder / "x.safetensors"); }, reason);
}

TEST(SafetensorsReader, ReadsDtypesShapesAndValues) {
  const TempFolder folder;
  write_bytes(folder / "x.safetensors", file_of(kHeader, kData));
  const SafetensorsReader reader(folder / "x.safetensors");
  ASSERT_EQ(reader.tensors().size(), 2u);
  EXPECT_EQ(reader.tensors().at("b"), (TensorInfo{c10::kByte, {3, 1}}));
  EXPECT_TRUE(at::equal(reader.read("a"), at::tensor({1.f, 2.f})));
  EXPECT_TRUE(at::equal(reader.read("b"), at::arange(1, 4, c10::kByte).view({3, 1})));
  expect_refused([&] { reader.read("c"); }, "no tensor 'c'");
}

TEST(SafetensorsReader, TensorsOutliveTheReaderAndWritesStayPrivate) {
  const TempFolder folder;
  const std::string file = file_of(kHeader, kData);
  write_bytes(folder / "x.safetensors", file);
  at::Tensor a;
  {
    const SafetensorsReader reader(folder / "x.safetensors");
    a = reader.read("a");
  }
  a.mul_(3);
  EXPECT_TRUE(at::equal(a, at::tensor({3.f, 6.f})));
  EXPECT_EQ(read_bytes(folder / "x.safetensors"), file);
}

// A header of odd length puts the floats at an odd address.
TEST(SafetensorsReader, ReadsUnalignedTensors) {
  const TempFolder folder;
  for (size_t padding = 0; padding < 8; ++padding) {
    write_bytes(folder / "x.safetensors", file_of(std::string(kHeader) + std::string(padding, ' '), kData));
    EXPECT_TRUE(at::equal(SafetensorsReader(folder / "x.safetensors").read("a"), at::tensor({1.f, 2.f})));
  }
}

TEST(SafetensorsReader, ReadsScalarsEmptyTensorsAndAnEmptyFile) {
  const TempFolder folder;
  write_bytes(folder / "x.safetensors",
              file_of(R"({"e":{"dtype":"F32","shape":[0,4],"data_offsets":[4,4]},)"
                      R"("s":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"__metadata__":{"k":"v"}})",
                      std::string_view("\0\0\x80\x3f", 4)));
  const SafetensorsReader reader(folder / "x.safetensors");
  EXPECT_EQ(reader.read("s").item<float>(), 1.f);
  EXPECT_EQ(reader.read("s").dim(), 0);
  EXPECT_EQ(reader.read("e").sizes(), (std::vector<int64_t>{0, 4}));
  EXPECT_EQ(reader.metadata().at("k"), "v");

  write_bytes(folder / "none.safetensors", file_of("{}", ""));
  EXPECT_TRUE(SafetensorsReader(folder / "none.safetensors").tensors().empty());
}

TEST(SafetensorsReader, RefusesWhatIsNoHeader) {
  const TempFolder folder;
  const auto refused = [&](std::string_view bytes, const std::string& reason) {
    write_bytes(folder / "x.safetensors", bytes);
    expect_refused([&] { SafetensorsReader(folder / "x.safetensors"); }, reason);
  };
  refused("", "byte 0: expected 8 bytes of header length");
  refused("1234567", "byte 7: expected 8 bytes of header length");
  refused(std::string(8, '\xff'), "over the format's limit");
  refused(std::string("\x10\0\0\0\0\0\0\0{}", 10), "does not fit the file of 10; truncated?");
  refused(file_of("", ""), "byte 8: expected the header's JSON object");
  refused(file_of("[]", ""), "byte 8: expected the header's JSON object");
  refused(file_of(R"({"a":)", ""), "malformed JSON");
  refused(file_of("{\"\xff\":1}", ""), "byte 11: malformed JSON");
  refused(file_of(std::string(100'000, '{'), ""), "malformed JSON");
  expect_refused([&] { SafetensorsReader(folder / "absent.safetensors"); }, "cannot be read: No such file");
  expect_refused([&] { SafetensorsReader(folder.path()); }, "model.safetensors: cannot be read");
}

TEST(SafetensorsReader, RefusesMalformedEntries) {
  const auto entry = [](const std::string& fields) { return R"({"a":{)" + fields + "}}"; };
  const auto refused = [&](const std::string& fields, const std::string& reason) {
    expect_header_refused(entry(fields), "12345678", "tensor 'a': byte 12: " + reason);
  };
  refused(R"("dtype":"F32","shape":[2])", "expected an object of dtype, shape and data_offsets");
  refused(R"("dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1)", "expected an object of dtype");
  refused(R"("dtype":32,"shape":[2],"data_offsets":[0,8])", "expected dtype to be a string");
  refused(R"("dtype":"F4","shape":[2],"data_offsets":[0,8])", "the dtype 'F4' is not known here");
  refused(R"("dtype":"F32","shape":2,"data_offsets":[0,8])", "expected shape to be a list");
  refused(R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])", "expected non-negative integers");
  refused(R"("dtype":"F32","shape":[2.0],"data_offsets":[0,8])", "expected non-negative integers");
  refused(R"("dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,8])", "expected non-negative integers");
  refused(R"("dtype":"F32","shape":[4611686018427387904,2],"data_offsets":[0,8])",
          "the shape's size in bytes does not fit 64 bits");
  refused(R"("dtype":"F32","shape":[0,4611686018427387904,4],"data_offsets":[0,0])",
          "the shape's size in bytes does not fit 64 bits");
  refused(R"("dtype":"F32","shape":[2],"data_offsets":[0])", "expected data_offsets to be [begin, end]");
  refused(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])",
          "F32 of shape [2] takes 8 bytes, but data_offsets are [8, 0]");
  refused(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])", "F32 of shape [3] takes 12 bytes");
  expect_header_refused(R"({"a":3})", "", "tensor 'a': byte 12: expected an object");
  expect_header_refused(R"({"__metadata__":3})", "", "expected __metadata__ to be an object");
  expect_header_refused(R"({"__metadata__":{"k":3}})", "", "expected text for 'k'");
}

TEST(SafetensorsReader, RefusesOverlapsHolesTailsAndDuplicates) {
  const auto two = [](const std::string& first, const std::string& second) {
    return R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)" + first +
           R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + second + "}}";
  };
  expect_header_refused(two("[0,4]", "[3,7]"), "1234567", "'b': byte 64: data_offsets [3, 7] overlap");
  expect_header_refused(two("[0,4]", "[0,4]"), "1234", "overlap");
  expect_header_refused(two("[0,4]", "[5,9]"), "123456789", "leave a hole after 4");
  expect_header_refused(two("[1,5]", "[5,9]"), "123456789", "leave a hole after 0");
  expect_header_refused(two("[0,4]", "[4,8]"), "1234567", "reach beyond the file's 7 bytes of data; truncated?");
  expect_header_refused(two("[0,4]", "[4,8]"), "123456789", "byte 121: 1 bytes after the last tensor");
  expect_header_refused(
      R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})",
      "", "byte 64: the key 'a' stands twice");
  expect_header_refused(R"({"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}})", "",
                        "the key 'dtype' stands twice");
}

TEST(SafetensorsReader, RefusesBoolsThatAreNone) {
  const TempFolder folder;
  write_bytes(folder / "x.safetensors",
              file_of(R"({"b":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]}})", std::string_view("\0\1\2", 3)));
  expect_refused([&] { SafetensorsReader(folder / "x.safetensors").read("b"); }, "expected a bool (0 or 1), got 2");
}

class ShardedSafetensors : public testing::Test {
 protected:
  void write(std::string_view index) {
    write_bytes(folder_ / "one.safetensors", file_of(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "\1"));
    write_bytes(folder_ / "two.safetensors", file_of(R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "\2"));
    write_bytes(folder_ / "model.safetensors.index.json", index);
  }
  void refused(std::string_view index, const std::string& reason) {
    write(index);
    expect_refused([&] { SafetensorsReader(folder_.path()); }, reason);
  }
  TempFolder folder_;
};

TEST_F(ShardedSafetensors, AreReadThroughTheIndex) {
  write(R"({"metadata":{"total_size":2},"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
  const SafetensorsReader reader(folder_.path());
  EXPECT_EQ(reader.tensors().size(), 2u);
  EXPECT_EQ(reader.read("b").item<uint8_t>(), 2);
}

TEST_F(ShardedSafetensors, AreRefusedWhereIndexAndFilesDiffer) {
  refused("", "malformed JSON");
  refused("{}", "expected an object 'weight_map'");
  refused(R"({"weight_map":[]})", "expected an object 'weight_map'");
  refused(R"({"weight_map":{"a":1}})", "expected a file name");
  refused(R"({"weight_map":{"a":"../one.safetensors"}})", "expected a file in the index's folder");
  refused(R"({"weight_map":{"a":"three.safetensors"}})", "three.safetensors: cannot be read");
  refused(R"({"weight_map":{"c":"one.safetensors"}})", "tensor 'c': byte 13: is not in 'one.safetensors'");
  refused(R"({"weight_map":{"a":"two.safetensors","b":"one.safetensors"}})", "expected in 'two.safetensors', is in");
  write(R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
  std::filesystem::copy_file(folder_ / "one.safetensors", folder_ / "two.safetensors",
                             std::filesystem::copy_options::overwrite_existing);
  expect_refused([&] { SafetensorsReader(folder_.path()); }, "the tensor also stands in another file");
}

// Every byte of a file is replaced by several others, and the file is cut at every length: it is refused with
// ValueError, or reads as some tensors; anything else fails the test (and the sanitizers).
TEST(SafetensorsReader, SurvivesEveryMutatedByte) {
  drop_stack_traces();
  const TempFolder folder;
  const std::string original = file_of(kHeader, kData);
  const auto path = folder / "x.safetensors";
  int num_refused = 0;
  const auto try_read = [&](const std::string& bytes) {
    write_bytes(path, bytes);
    try {
      const SafetensorsReader reader(path);
      for (const auto& [name, info] : reader.tensors()) {
        ASSERT_EQ(info.shape, reader.read(name).sizes().vec());
        ASSERT_GE(reader.read(name).sum().item<double>(), -1e300);
      }
    } catch (const c10::ValueError&) {
      ++num_refused;
    }
  };
  for (size_t at = 0; at < original.size(); ++at) {
    for (const int change : {0x01, 0x02, 0x04, 0x10, 0x20, 0x80, 0xff}) {
      std::string bytes = original;
      bytes[at] = static_cast<char>(bytes[at] ^ change);
      try_read(bytes);
    }
    try_read(original.substr(0, at));
  }
  EXPECT_GT(num_refused, static_cast<int>(original.size()) * 5);
}

}  // namespace
}  // namespace titan::checkpoint
