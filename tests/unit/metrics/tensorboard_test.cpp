#include "titan/metrics/tensorboard.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <cstring>
#include <ctime>
#include <limits>
#include <regex>

#include "tests/unit/metrics/output_folder.h"

namespace titan::metrics {
namespace {

class Wire {
 public:
  explicit Wire(std::string bytes) : bytes_(std::move(bytes)) {}
  bool at_end() const { return at_ == bytes_.size(); }

  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = static_cast<uint8_t>(bytes_.at(at_++));
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return value;
    }
  }
  std::string take(size_t size) {
    EXPECT_LE(size, bytes_.size() - at_);
    at_ += size;
    return bytes_.substr(at_ - size, size);
  }
  template <class T>
  T fixed() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }

 private:
  std::string bytes_;
  size_t at_ = 0;
};

// Field numbers and wire types of TensorBoard's event.proto and summary.proto: tag = number << 3 | type.
Scalar decode(const std::string& record, std::string* version) {
  Scalar scalar;
  for (Wire event(record); !event.at_end();) {
    switch (event.varint()) {
      case 1 << 3 | 1:
        scalar.wall_time = event.fixed<double>();
        break;
      case 2 << 3 | 0:
        scalar.step = static_cast<int64_t>(event.varint());
        break;
      case 3 << 3 | 2:
        *version = event.take(event.varint());
        break;
      case 5 << 3 | 2: {
        Wire summary(event.take(event.varint()));
        EXPECT_EQ(summary.varint(), 1u << 3 | 2);
        for (Wire value(summary.take(summary.varint())); !value.at_end();) {
          switch (value.varint()) {
            case 1 << 3 | 2:
              scalar.tag = value.take(value.varint());
              break;
            case 2 << 3 | 5:
              scalar.value = value.fixed<float>();
              break;
            default:
              ADD_FAILURE() << "unknown field of a value";
              return scalar;
          }
        }
        EXPECT_TRUE(summary.at_end());
        break;
      }
      default:
        ADD_FAILURE() << "unknown field of an event";
        return scalar;
    }
  }
  return scalar;
}

}  // namespace

std::vector<Scalar> scalars_of(const std::filesystem::path& path, std::string* version) {
  std::vector<Scalar> scalars;
  std::string found_version;
  for (Wire file(content_of(path)); !file.at_end();) {
    const std::string length = file.take(8);
    EXPECT_EQ(file.fixed<uint32_t>(), masked_crc32c(length));
    const std::string record = file.take(Wire(length).fixed<uint64_t>());
    EXPECT_EQ(file.fixed<uint32_t>(), masked_crc32c(record));
    const Scalar scalar = decode(record, &found_version);
    if (!scalar.tag.empty()) scalars.push_back(scalar);
  }
  if (version != nullptr) *version = found_version;
  return scalars;
}

namespace {

uint32_t masked(uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xa282ead8u; }

// RFC 3720, appendix B.4, and the check value of the CRC catalogues.
TEST(MaskedCrc32c, GivesTheKnownAnswers) {
  EXPECT_EQ(masked_crc32c(std::string(32, '\0')), masked(0x8a9136aa));
  EXPECT_EQ(masked_crc32c(std::string(32, '\xff')), masked(0x62a8ab43));
  EXPECT_EQ(masked_crc32c("123456789"), masked(0xe3069283));
  EXPECT_EQ(masked_crc32c(""), masked(0));
}

TEST(TensorBoardWriter, ScalarsReadBack) {
  const OutputFolder folder;
  TensorBoardWriter writer(folder.path() / "tb" / "20260101-0000");
  writer.add_scalar("loss_metrics/global_avg_loss", 4.25, 1);
  writer.add_scalar("mfu(%)", 1e-300, 300);
  writer.add_scalar("grad_norm", std::numeric_limits<double>::quiet_NaN(), 0);
  writer.flush();
  std::string version;
  const auto scalars = scalars_of(writer.path(), &version);
  EXPECT_EQ(version, "brain.Event:2");
  ASSERT_EQ(scalars.size(), 3u);
  EXPECT_EQ(scalars[0].tag, "loss_metrics/global_avg_loss");
  EXPECT_EQ(scalars[0].value, 4.25f);
  EXPECT_EQ(scalars[0].step, 1);
  EXPECT_NEAR(scalars[0].wall_time, static_cast<double>(std::time(nullptr)), 60);
  EXPECT_EQ(scalars[1].step, 300);
  EXPECT_EQ(scalars[1].value, 0.0f);
  EXPECT_TRUE(std::isnan(scalars[2].value));
}

TEST(TensorBoardWriter, TwoWritersInOneFolderHaveTheirOwnFiles) {
  const OutputFolder folder;
  TensorBoardWriter first(folder.path()), second(folder.path());
  EXPECT_NE(first.path(), second.path());
  const std::regex form(R"(events\.out\.tfevents\.\d{10}\..+\.\d+\.\d+)");
  EXPECT_TRUE(std::regex_match(first.path().filename().string(), form)) << first.path();
}

TEST(TensorBoardWriter, NamesAFolderItCannotCreate) {
  const OutputFolder folder;
  std::ofstream(folder.path() / "file") << "";
  EXPECT_THROW(TensorBoardWriter(folder.path() / "file" / "tb"), c10::Error);
}

}  // namespace
}  // namespace titan::metrics
