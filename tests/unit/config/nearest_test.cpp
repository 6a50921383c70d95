#include "titan/config/nearest.h"

#include <gtest/gtest.h>

namespace titan::config {
namespace {

TEST(EditDistance, CountsEdits) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("abc", ""), 3u);
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("setps", "steps"), 1u);  // neighbours swapped
}

TEST(NearestKey, TypingSlipWinsOverAnotherSection) {
  EXPECT_EQ(nearest_key("training.seq_lem", {"validation.seq_len", "training.seq_len", "training.steps"}),
            "training.seq_len");
}

TEST(NearestKey, RightNameInAWrongSectionIsFound) {
  EXPECT_EQ(nearest_key("training.lr", {"optimizer.lr", "training.steps", "training.dtype"}), "optimizer.lr");
}

TEST(NearestKey, AnythingGetsAnAnswer) {
  EXPECT_EQ(nearest_key("", {"a.b"}), "a.b");
  EXPECT_EQ(nearest_key(std::string(100000, 'x'), {"a.b"}), "a.b");
  EXPECT_EQ(nearest_key("a", {}), "");
}

}  // namespace
}  // namespace titan::config
