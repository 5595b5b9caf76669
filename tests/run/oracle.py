"""The method as straight-line code: one call at a time, no retries, no files. What the engine must agree with.

It follows the published description step by step and shares no code with the package, so that a mistake would
have to be made twice to go unseen. Requests carry no seed; the judge is asked every time; truncation is ``rewrite``.
"""

import json
import math
import urllib.request
from dataclasses import dataclass, field
from typing import Any

Line = dict[str, Any]


@dataclass
class Oracle:
    """A run of the method over a list of (question, answer) pairs against an OpenAI-compatible server."""

    base_url: str
    config: Line
    s_prime: list[Line] = field(default_factory=list)
    candidates: list[Line] = field(default_factory=list)
    scored: list[Line] = field(default_factory=list)
    selected: list[Line] = field(default_factory=list)
    sft: list[Line] = field(default_factory=list)

    def run(self, pairs: list[tuple[str, str]]) -> None:
        """All five steps for each question."""
        for question, answer in pairs:
            attempt = self._chat("mweak", [("user", question)], "gen_temperature")[0].strip()
            if self._judged_correct(question, attempt, answer):
                continue
            self.s_prime.append({"question": question, "answer": answer, "weak_attempt": attempt})
            traces = self._traces(question, answer)
            self.candidates += traces
            scored = [trace | self._score(trace) for trace in traces]
            self.scored += scored
            best = max(t["score"] for t in scored)
            winner = min((t for t in scored if t["score"] == best), key=lambda t: len(t["normal"].split()))
            prompt = self.config["prompts"]["ptrunc"].format(normal_reasoning=winner["normal"], answer=answer)
            cut = self._chat("truncation", [("user", prompt)], "trunc_temp")[0].strip()
            self.selected.append(
                {
                    "question": question,
                    "answer": answer,
                    "chosen_normal": winner["normal"],
                    "truncated_normal": cut,
                    "score": winner["score"],
                    "debug": winner["debug"],
                }
            )
            self.sft.append({"prompt": question.strip(), "response": f"<think> {cut} </think> {answer.strip()}"})

    def _traces(self, question: str, answer: str) -> list[Line]:
        cgen = self.config["prompts"]["cgen"]
        traces = []
        for name in self.config["models"]["mstrong"]:
            for _ in range(self.config["params"]["samples_per_model"]):
                chat = [("user", question), ("assistant", answer), ("user", cgen)]
                content, thinking = self._chat_to(name, chat, self.config["params"]["gen_temperature"])
                steps: list[str] = []
                for line in content.split("\n"):
                    if line.startswith("## "):
                        steps.append(line)
                    elif steps:
                        steps[-1] += "\n" + line
                traces.append(
                    {
                        "question": question,
                        "answer": answer,
                        "m_strong": name,
                        "step_reasoning": content,
                        "step_list": [s.strip() for s in steps],
                        "normal": thinking,
                        "raw": None,
                    }
                )
        return traces

    def _score(self, trace: Line) -> Line:
        n, beta = self.config["params"]["n_mask"], self.config["params"]["beta"]
        s: list[int] = []
        for i in range(n):
            parts = []
            for step in trace["step_list"]:
                if step.lower().startswith("## final answer"):
                    parts.append("## Final Answer (to be continued...)")
                elif i == 0:
                    parts.append(step)
                else:
                    keep = len(step) - math.ceil((i / n) * len(step))
                    parts.append(step[:keep] + " (to be continued...)")
            prompt = self.config["prompts"]["pqr"].format(question=trace["question"], step_reasoning="\n\n".join(parts))
            attempt = self._chat_to(self.config["models"]["mweak"], [("user", prompt)], 0.6)[0].strip()
            s.append(int(self._judged_correct(trace["question"], attempt, trace["answer"])))
        savg = sum(s) / n
        sew = (s[0] * 2 ** -(n - 1) + sum(s[i] * 2 ** -(n - i) for i in range(1, n))) / (n - 1)
        return {"score": beta * savg + (1 - beta) * sew, "debug": {"s_list": s, "savg": savg, "sew": sew}}

    def _judged_correct(self, question: str, attempt: str, answer: str) -> bool:
        prompt = self.config["prompts"]["pjudge"].format(question=question, attempt=attempt, answer=answer)
        verdict = self._chat("judge", [("user", prompt)], "judge_temperature")[0]
        return verdict.strip().splitlines()[-1].strip().lower() == "yes"

    def _chat(self, role: str, chat: list[tuple[str, str]], temperature_key: str) -> tuple[str, str]:
        return self._chat_to(self.config["models"][role], chat, self.config["params"][temperature_key])

    def _chat_to(self, endpoint: str, chat: list[tuple[str, str]], temperature: float) -> tuple[str, str]:
        body = {
            "model": self.config["model_endpoints"][endpoint]["model_id"],
            "messages": [{"role": role, "content": content} for role, content in chat],
            "temperature": temperature,
            "max_tokens": 8192,
        }
        request = urllib.request.Request(
            f"{self.base_url}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            message = json.load(response)["choices"][0]["message"]
        return message["content"] or "", message.get("reasoning_content") or ""
