#include "titan/parallel/pipeline/schedule/action.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

namespace titan::pipeline {
namespace {

TEST(Action, TextIsPyTorchsNotationBothWays) {
  for (const char* const text : {"2F0", "0I13", "10W7", "3B2", "1SEND_F0", "2RECV_F0", "3SEND_B1", "2RECV_B1",
                                 "1UNSHARD", "12RESHARD", "0REDUCE_GRAD", "(0F1;1B0)OVERLAP_F_B"}) {
    EXPECT_EQ(to_string(parse_action(text)), text);
  }
  EXPECT_EQ(parse_action("2F0"), F(2, 0));
  EXPECT_EQ(parse_action(" ( 0F1 ; 1B0 ) OVERLAP_F_B\r"), overlap(F(0, 1), B(1, 0)));
  EXPECT_NE(overlap(F(0, 1), B(1, 0)), overlap(F(0, 1), B(1, 1)));
}

TEST(Action, RefusesWhatIsNoAction) {
  for (const char* const text : {"",
                                 "F",
                                 "2F",
                                 "F0",
                                 "2G0",
                                 "2f0",
                                 "2F0x",
                                 "-1F0",
                                 "2F-1",
                                 "1UNSHARD0",
                                 "99999999999F0",
                                 "2",
                                 "2F0 1F0",
                                 "OVERLAP_F_B",
                                 "0OVERLAP_F_B",
                                 "()OVERLAP_F_B",
                                 "(0F1)OVERLAP_F_B",
                                 "(0F1;1B0)",
                                 "(0F1;1B0",
                                 "(1B0;0F1)OVERLAP_F_B",
                                 "(0F1;1I0)OVERLAP_F_B",
                                 "(0F1;1B0;2B0)OVERLAP_F_B",
                                 ";(0F1",
                                 "(;)OVERLAP_F_B"}) {
    EXPECT_THROW(parse_action(text), c10::ValueError) << text;
  }
}

}  // namespace
}  // namespace titan::pipeline
