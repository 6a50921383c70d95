#include "titan/checkpoint/dcp_reader.h"

#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "tests/unit/checkpoint/expect_refused.h"
#include "tests/unit/checkpoint/fast_errors.h"
#include "tests/unit/checkpoint/temp_folder.h"
#include "titan/checkpoint/safetensors_reader.h"

namespace titan::checkpoint {
namespace {

bool same_bytes(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() && a.is_contiguous() && b.is_contiguous() &&
         at::equal(a.view(-1).view(c10::kByte), b.view(-1).view(c10::kByte));
}

// The same tensors, written by PyTorch's DCP and by safetensors' own library.
void expect_same_tensors(const std::string& dcp, const std::string& safetensors) {
  const DcpReader reader(golden(dcp));
  const SafetensorsReader expected(golden(safetensors));
  EXPECT_EQ(reader.tensors(), expected.tensors());
  for (const auto& [name, info] : expected.tensors()) {
    EXPECT_TRUE(same_bytes(reader.read(name), expected.read(name))) << name;
  }
}

TEST(DcpReader, ReadsEveryDtypeScalarsEmptyAndStridedTensors) {
  expect_same_tensors("dcp_single", "single.safetensors");
}

// 7 rows, 1 row and 5 columns over 2 ranks: uneven pieces, and one empty.
TEST(DcpReader, AssemblesTheChunksOfSeveralRanks) { expect_same_tensors("dcp_sharded", "sharded.safetensors"); }

TEST(DcpReader, ListsObjectsWithoutReadingThem) {
  const DcpReader reader(golden("dcp_single"));
  std::vector<std::string> objects;
  for (const auto& [name, place] : reader.metadata().objects) objects.push_back(name);
  EXPECT_EQ(objects, (std::vector<std::string>{"dataloader", "lr_scheduler.last_epoch", "lr_scheduler.note"}));
  EXPECT_FALSE(reader.tensors().contains("dataloader"));
  expect_refused([&] { reader.read("dataloader"); }, "has no tensor 'dataloader'");
}

class CopiedDcp : public testing::Test {
 protected:
  CopiedDcp() { std::filesystem::copy(golden("dcp_sharded"), folder_.path()); }

  // Every occurrence of `from` in a file, by text of the same length.
  void replace(const std::string& file, const std::string& from, const std::string& to) {
    ASSERT_EQ(from.size(), to.size());
    std::string bytes = read_bytes(folder_ / file);
    ASSERT_NE(bytes.find(from), std::string::npos) << from;
    for (size_t at = bytes.find(from); at != std::string::npos; at = bytes.find(from, at + 1)) {
      bytes.replace(at, from.size(), to);
    }
    write_bytes(folder_ / file, bytes);
  }
  void opening_is_refused(const std::string& reason) {
    expect_refused([&] { DcpReader reader(folder_.path()); }, reason);
  }
  TempFolder folder_;
};

TEST_F(CopiedDcp, IsRefusedWithoutItsFiles) {
  std::filesystem::remove(folder_ / "__1_0.distcp");
  opening_is_refused("__1_0.distcp: cannot be read");
  std::filesystem::remove(folder_ / ".metadata");
  opening_is_refused(".metadata: cannot be read");
}

TEST_F(CopiedDcp, IsRefusedWhereAFileIsCut) {
  std::filesystem::resize_file(folder_ / "__1_0.distcp", 5000);
  opening_is_refused("got a file of 5000 bytes; truncated?");
}

TEST_F(CopiedDcp, IsRefusedWhereAFileLiesOutside) {
  replace(".metadata", "__1_0.distcp", "../_0.distcp");
  opening_is_refused("expected a file inside the checkpoint's folder, got '../_0.distcp'");
}

TEST_F(CopiedDcp, IsRefusedWithAForeignGlobal) {
  replace(".metadata", "PosixPath", "PosixFork");
  opening_is_refused("PosixFork' is not one that checkpoints are written with; refused");
}

TEST_F(CopiedDcp, NamesTheDamagedTensor) {
  const DcpReader intact(folder_.path());
  std::string bytes = read_bytes(folder_ / "__0_0.distcp");
  const at::Tensor columns = intact.read("columns").clone();
  const size_t header = bytes.find("archive/data/0");
  ASSERT_NE(header, std::string::npos);
  const size_t payload = (header + 14 + 4 + 63) / 64 * 64;  // behind name and padding, as torch.save aligns
  bytes[payload] = static_cast<char>(bytes[payload] ^ 1);
  write_bytes(folder_ / "__0_0.distcp", bytes);
  const DcpReader reader(folder_.path());
  expect_refused([&] { reader.read("rows"); }, "__0_0.distcp: tensor 'rows': byte 704: is damaged");
  EXPECT_TRUE(at::equal(reader.read("columns"), columns));  // the others are still there
}

// As for safetensors: each mutated byte of .metadata and of a .distcp file is refused with ValueError or harmless.
TEST_F(CopiedDcp, SurvivesEveryMutatedByte) {
  drop_stack_traces();
  int num_refused = 0, num_tried = 0;
  for (const std::string file : {".metadata", "__0_0.distcp"}) {
    const std::string original = read_bytes(folder_ / file);
    const auto try_read = [&](const std::string& bytes) {
      ++num_tried;
      write_bytes(folder_ / file, bytes);
      try {
        const DcpReader reader(folder_.path());
        for (const auto& [name, info] : reader.tensors()) ASSERT_EQ(info.shape, reader.read(name).sizes().vec());
      } catch (const c10::ValueError&) {
        ++num_refused;
      }
    };
    for (size_t at = 0; at < original.size(); ++at) {
      for (const int change : {0x01, 0x10, 0x80, 0xff}) {
        std::string bytes = original;
        bytes[at] = static_cast<char>(bytes[at] ^ change);
        try_read(bytes);
      }
      if (at % 3 == 0) try_read(original.substr(0, at));
    }
    write_bytes(folder_ / file, original);
  }
  EXPECT_GT(num_refused, num_tried / 3);  // padding and unused fields are the rest
}

}  // namespace
}  // namespace titan::checkpoint
