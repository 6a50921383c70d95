#include "titan/data/byte_reader.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include "tests/unit/data/text_on_disk.h"

namespace titan::data {
namespace {

// Not compressible, so that no reader's buffer holds all of it.
std::string noise(size_t size) {
  std::string bytes(size, '\0');
  uint64_t state = 1;
  for (char& byte : bytes)
    byte = static_cast<char>((state = state * 6364136223846793005u + 1442695040888963407u) >> 56);
  return bytes;
}

std::string read_all(const std::filesystem::path& path, size_t piece = 4096) {
  const auto reader = open_bytes(path);
  std::string all, buffer(piece, '\0');
  while (const size_t size = reader->read(buffer.data(), buffer.size())) all.append(buffer, 0, size);
  return all;
}

TEST(ByteReader, UnpacksWhatItsBytesSayWhateverItsName) {
  const TemporaryFolder folder;
  const std::string text = noise(1'000'003);
  EXPECT_EQ(read_all(folder.write("plain.gz", text)), text);
  EXPECT_EQ(read_all(folder.write("gzip.jsonl", gzipped(text))), text);
  EXPECT_EQ(read_all(folder.write("zstd.jsonl", zstd_packed(text))), text);
}

TEST(ByteReader, PiecesOfOneByteMakeTheSameText) {
  const TemporaryFolder folder;
  const std::string text = noise(3001);
  EXPECT_EQ(read_all(folder.write("plain", text), 1), text);
  EXPECT_EQ(read_all(folder.write("gzip", gzipped(text)), 1), text);
  EXPECT_EQ(read_all(folder.write("zstd", zstd_packed(text)), 1), text);
}

TEST(ByteReader, ReadsSeveralMembersAndFrames) {
  const TemporaryFolder folder;
  const std::string a = noise(200'000), b = "second";
  EXPECT_EQ(read_all(folder.write("two.gz", gzipped(a) + gzipped(b))), a + b);
  EXPECT_EQ(read_all(folder.write("two.zst", zstd_packed(a) + zstd_packed("") + zstd_packed(b))), a + b);
}

TEST(ByteReader, EmptyFilesHaveNoBytes) {
  const TemporaryFolder folder;
  EXPECT_EQ(read_all(folder.write("empty", "")), "");
  EXPECT_EQ(read_all(folder.write("empty.gz", gzipped(""))), "");
  EXPECT_EQ(read_all(folder.write("empty.zst", zstd_packed(""))), "");
}

TEST(ByteReader, NamesFilesThatAreCutShortOrDamaged) {
  const TemporaryFolder folder;
  const std::string text = noise(300'000);
  const auto message = [&](const std::string& name, const std::string& bytes) {
    return message_of<c10::Error>([&] { read_all(folder.write(name, bytes)); });
  };
  std::string gzip = gzipped(text), zstd = zstd_packed(text);
  EXPECT_EQ(message("a.gz", gzip.substr(0, 200'000)),
            (folder.path() / "a.gz").string() + ": the gzip data is cut short");
  EXPECT_EQ(message("a.zst", zstd.substr(0, 200'000)),
            (folder.path() / "a.zst").string() + ": the zstd data is cut short");
  gzip[gzip.size() - 8] ^= 1;  // its check sum
  zstd[5] ^= 0x40;
  EXPECT_EQ(message("b.gz", gzip),
            (folder.path() / "b.gz").string() + ": the gzip data is damaged: incorrect data check");
  EXPECT_NE(message("b.zst", zstd), "");
}

TEST(ByteReader, NamesAFileThatIsNotThere) {
  EXPECT_EQ(message_of<c10::Error>([] { open_bytes("/nowhere/a.jsonl"); }),
            "/nowhere/a.jsonl: cannot open: No such file or directory");
}

}  // namespace
}  // namespace titan::data
