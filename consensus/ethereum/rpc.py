"""The JSON-RPC methods of the embedded chain: those that a binding needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from consensus.encoding.node import Node
from consensus.ethereum.chain import Block, Call, Chain, Refused, Reverted

__all__ = ["PARSE_ERROR", "answer", "failure"]

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
NO_METHOD: Final = -32601
BAD_PARAMETERS: Final = -32602
REFUSED: Final = -32000
REVERTED: Final = 3

LONGEST_TRANSACTION: Final = 2**17
"""The most bytes of a transaction, as of other nodes."""
MOST_TOPICS: Final = 4

Params = Sequence[object]


class _Bad(Exception):
    """Error: a parameter is not of the form that its method needs."""


def failure(identity: object, code: int, message: str, data: str | None = None) -> Node:
    """An error's answer to the request `identity`."""
    error: Node = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return {"jsonrpc": "2.0", "id": identity, "error": error}


def answer(chain: Chain, asked: object) -> Node:
    """The answer to one request, whatever it is; lists of requests are not served."""
    if not isinstance(asked, dict):
        return failure(None, INVALID_REQUEST, "a request is an object")
    identity, method, params = asked.get("id"), asked.get("method"), asked.get("params", [])
    if not isinstance(identity, int | str | None):
        return failure(None, INVALID_REQUEST, "the id is a number or a text")
    if asked.get("jsonrpc") != "2.0" or not isinstance(method, str):
        return failure(identity, INVALID_REQUEST, "not a request of JSON-RPC 2.0")
    serve = METHODS.get(method)
    if serve is None:
        return failure(identity, NO_METHOD, f"no method {method:.80}")
    if not isinstance(params, list):
        return failure(identity, BAD_PARAMETERS, "the parameters are a list")
    try:
        return {"jsonrpc": "2.0", "id": identity, "result": serve(chain, params)}
    except _Bad as error:
        return failure(identity, BAD_PARAMETERS, str(error))
    except Reverted as error:
        return failure(identity, REVERTED, "execution reverted", _hex(error.data))
    except Refused as error:
        return failure(identity, REFUSED, str(error))


# --- what is asked --------------------------------------------------------------------------------


def _at(params: Params, place: int, default: object = None) -> object:
    return params[place] if place < len(params) else default


def _bytes(value: object, length: int | None = None) -> bytes:
    """Bytes written as 0x and hexadecimal digits."""
    if isinstance(value, str) and value.startswith("0x"):
        try:
            found = bytes.fromhex(value[2:])
        except ValueError:
            found = None
        if found is not None and length in (None, len(found)) and len(value) == 2 + 2 * len(found):
            return found
    what = "bytes" if length is None else f"{length} bytes"
    raise _Bad(f"expected {what} as 0x and hexadecimal digits")


def _number(value: object) -> int:
    """A number written as 0x and hexadecimal digits."""
    if isinstance(value, str) and value.startswith("0x") and 2 < len(value) <= 66:
        digits = value[2:]
        if all(digit in "0123456789abcdefABCDEF" for digit in digits):
            return int(digits, 16)
    raise _Bad("expected a number as 0x and hexadecimal digits")


def _place(chain: Chain, value: object) -> int:
    """The number of a block, which may also be named; nothing is ever pending."""
    if value in (None, "latest", "pending", "safe", "finalized"):
        return chain.height
    return 0 if value == "earliest" else _number(value)


def _block(chain: Chain, value: object) -> Block:
    """A block by its number or name, for what is asked of the state after it."""
    place = _place(chain, value)
    if place > chain.height:
        raise _Bad(f"no block {place}")
    return chain.block(place)


def _call(chain: Chain, params: Params) -> tuple[Call, Block]:
    asked = _at(params, 0)
    if not isinstance(asked, dict):
        raise _Bad("a call is an object")
    to = asked.get("to")
    data = asked.get("input", asked.get("data"))
    gas = asked.get("gas")
    call = Call(
        sender=_bytes(asked["from"], 20) if "from" in asked else bytes(20),
        to=_bytes(to, 20) if to else b"",
        data=_bytes(data) if data is not None else b"",
        value=_number(asked["value"]) if "value" in asked else 0,
        gas=_number(gas) if gas is not None else None,
    )
    return call, _block(chain, _at(params, 1))


def _topics(value: object) -> list[set[bytes] | None]:
    """For each place the topics that are asked for, or None for any."""
    if not isinstance(value, list) or len(value) > MOST_TOPICS:
        raise _Bad(f"the topics are a list of at most {MOST_TOPICS}")
    found: list[set[bytes] | None] = []
    for each in value:
        several = each if isinstance(each, list) else [each]
        found.append(None if each is None else {_bytes(topic, 32) for topic in several})
    return found


# --- what is answered -----------------------------------------------------------------------------


def _hex(data: bytes) -> str:
    return f"0x{data.hex()}"


def _header(block: Block) -> Node:
    header = block.header
    return {
        "number": hex(header.block_number),
        "hash": _hex(header.hash),
        "parentHash": _hex(header.parent_hash),
        "nonce": _hex(header.nonce),
        "sha3Uncles": _hex(header.uncles_hash),
        "logsBloom": _hex(header.bloom.to_bytes(256, "big")),
        "transactionsRoot": _hex(header.transaction_root),
        "stateRoot": _hex(header.state_root),
        "receiptsRoot": _hex(header.receipt_root),
        "miner": _hex(header.coinbase),
        "difficulty": "0x0",
        "totalDifficulty": "0x0",
        "extraData": _hex(header.extra_data),
        "mixHash": _hex(header.mix_hash),
        "gasLimit": hex(header.gas_limit),
        "gasUsed": hex(header.gas_used),
        "baseFeePerGas": hex(header.base_fee_per_gas or 0),
        "timestamp": hex(header.timestamp),
        "uncles": [],
    }


def _with_transactions(block: Block, whole: object) -> Node:
    here = block.transaction
    listed: list[object] = []
    if here is not None:
        listed = [_transaction(block) if whole is True else _hex(here.hash)]
    return {**_header(block), "transactions": listed}


def _where(block: Block) -> Node:
    assert block.transaction is not None
    return {
        "transactionHash": _hex(block.transaction.hash),
        "transactionIndex": "0x0",
        "blockHash": _hex(block.header.hash),
        "blockNumber": hex(block.header.block_number),
    }


def _transaction(block: Block) -> Node:
    here = block.transaction
    assert here is not None
    where = _where(block)
    found: Node = {
        "hash": where.pop("transactionHash"),
        **where,
        "from": _hex(here.sender),
        "to": _hex(here.to) if here.to else None,
        "nonce": hex(here.nonce),
        "gas": hex(here.gas),
        "gasPrice": hex(here.price),
        "value": hex(here.value),
        "input": _hex(here.data),
        "type": hex(here.kind),
    }
    if here.kind == 2:
        found["maxFeePerGas"] = hex(here.most_price)
        found["maxPriorityFeePerGas"] = hex(here.tip)
    return found


def _receipt(block: Block) -> Node:
    here = block.transaction
    assert here is not None
    return {
        **_where(block),
        "from": _hex(here.sender),
        "to": _hex(here.to) if here.to else None,
        "contractAddress": _hex(here.created) if here.created else None,
        "cumulativeGasUsed": hex(block.header.gas_used),
        "gasUsed": hex(block.header.gas_used),
        "effectiveGasPrice": hex(here.price),
        "logs": [_log(block, place) for place in range(len(here.logs))],
        "logsBloom": _hex(block.header.bloom.to_bytes(256, "big")),
        "status": hex(here.succeeded),
        "type": hex(here.kind),
    }


def _log(block: Block, place: int) -> Node:
    assert block.transaction is not None
    log = block.transaction.logs[place]
    return {
        **_where(block),
        "logIndex": hex(place),
        "address": _hex(log.address),
        "topics": [_hex(topic) for topic in log.topics],
        "data": _hex(log.data),
        "removed": False,
    }


# --- methods --------------------------------------------------------------------------------------


def _block_by_number(chain: Chain, params: Params) -> object:
    place = _place(chain, _at(params, 0))
    if place > chain.height:
        return None
    return _with_transactions(chain.block(place), _at(params, 1))


def _block_by_hash(chain: Chain, params: Params) -> object:
    block = chain.block_of(_bytes(_at(params, 0), 32))
    return None if block is None else _with_transactions(block, _at(params, 1))


def _of_transaction(told: Callable[[Block], Node]) -> Callable[[Chain, Params], object]:
    def serve(chain: Chain, params: Params) -> object:
        block = chain.block_with(_bytes(_at(params, 0), 32))
        return None if block is None else told(block)

    return serve


def _logs(chain: Chain, params: Params) -> object:
    asked = _at(params, 0, {})
    if not isinstance(asked, dict):
        raise _Bad("a filter is an object")
    if "blockHash" in asked:
        block = chain.block_of(_bytes(asked["blockHash"], 32))
        blocks = [] if block is None else [block]
    else:
        first, last = (_place(chain, asked.get(end)) for end in ("fromBlock", "toBlock"))
        blocks = [chain.block(place) for place in range(first, min(last, chain.height) + 1)]
    address = asked.get("address")
    several = address if isinstance(address, list) else [address]
    addresses = None if address is None else {_bytes(each, 20) for each in several}
    topics = _topics(asked.get("topics") or [])
    return [
        _log(block, place)
        for block in blocks
        if block.transaction is not None
        for place, log in enumerate(block.transaction.logs)
        if (addresses is None or log.address in addresses)
        and len(log.topics) >= len(topics)
        and all(
            wanted is None or got in wanted for wanted, got in zip(topics, log.topics, strict=False)
        )
    ]


def _send(chain: Chain, params: Params) -> object:
    raw = _bytes(_at(params, 0))
    if len(raw) > LONGEST_TRANSACTION:
        raise Refused(f"a transaction of more than {LONGEST_TRANSACTION:,} bytes")
    return _hex(chain.accept(raw))


def _state(read: Callable[[Chain, bytes, Block], object]) -> Callable[[Chain, Params], object]:
    """A method that reads something of an account after a block."""
    return lambda chain, params: read(
        chain, _bytes(_at(params, 0), 20), _block(chain, _at(params, 1))
    )


METHODS: Final[dict[str, Callable[[Chain, Params], object]]] = {
    "web3_clientVersion": lambda chain, params: "bfedrec/embedded",
    "net_version": lambda chain, params: str(chain.chain_id),
    "eth_chainId": lambda chain, params: hex(chain.chain_id),
    "eth_accounts": lambda chain, params: list(chain.funded),
    "eth_blockNumber": lambda chain, params: hex(chain.height),
    "eth_gasPrice": lambda chain, params: hex(chain.gas_price),
    "eth_maxPriorityFeePerGas": lambda chain, params: hex(chain.tip),
    "eth_getBlockByNumber": _block_by_number,
    "eth_getBlockByHash": _block_by_hash,
    "eth_getTransactionByHash": _of_transaction(_transaction),
    "eth_getTransactionReceipt": _of_transaction(_receipt),
    "eth_getTransactionCount": _state(
        lambda chain, address, block: hex(chain.nonce(address, block))
    ),
    "eth_getBalance": _state(lambda chain, address, block: hex(chain.balance(address, block))),
    "eth_getCode": _state(lambda chain, address, block: _hex(chain.code(address, block))),
    "eth_getLogs": _logs,
    "eth_call": lambda chain, params: _hex(chain.call(*_call(chain, params))),
    "eth_estimateGas": lambda chain, params: hex(chain.estimate(*_call(chain, params))),
    "eth_sendRawTransaction": _send,
}
